// A tensor is a view: dtype, shape and strides over shared storage. Copying one copies no elements.
//
// Operations want the last dimension contiguous; leading dimensions may be strided (a column range of a wider matrix).
// A tensor says nothing of gradients; that is core/tape.h. Not synchronised: one thread writes at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "core/allocator.h"
#include "core/dtype.h"
#include "core/shape.h"

namespace photon {

enum class DeviceType : uint8_t { kCpu, kCuda };

struct Device {
  DeviceType type = DeviceType::kCpu;
  int index = 0;
  friend bool operator==(const Device&, const Device&) = default;
};

class Tensor {
 public:
  Tensor() = default;  // empty: defined() is false
  Tensor(const Tensor&) = default;
  Tensor& operator=(const Tensor&) = default;
  // Leave `other` empty: a gradient slot whose tensor was taken must say so.
  Tensor(Tensor&& other) noexcept { *this = std::move(other); }
  Tensor& operator=(Tensor&& other) noexcept {
    storage_ = std::move(other.storage_);
    data_ = std::exchange(other.data_, nullptr);
    shape_ = std::move(other.shape_);
    strides_ = std::move(other.strides_);
    dtype_ = other.dtype_;
    device_ = other.device_;
    return *this;
  }
  // Contiguous, uninitialised.
  Tensor(Allocator& allocator, Device device, Shape shape, DType dtype);
  // A contiguous view of memory that the caller keeps alive.
  static Tensor Wrap(void* data, Shape shape, DType dtype, Device device = {});

  bool defined() const { return storage_ != nullptr || data_ != nullptr; }
  const Shape& shape() const { return shape_; }
  int rank() const { return shape_.rank(); }
  int64_t dim(int i) const { return shape_[i < 0 ? i + rank() : i]; }       // negative i counts from the end
  int64_t stride(int i) const { return strides_[i < 0 ? i + rank() : i]; }  // in elements
  int64_t elements() const { return shape_.elements(); }
  size_t bytes() const { return elements() * ByteSize(dtype_); }
  DType dtype() const { return dtype_; }
  Device device() const { return device_; }
  bool contiguous() const;
  // True where no other tensor shares the storage, so that writing in place is seen by nobody else.
  bool exclusive() const { return storage_ != nullptr && storage_.use_count() == 1; }

  void* raw() const { return data_; }
  template <typename T>
  T* data() const {
    PHOTON_CHECK(dtype_ == DTypeOf<T>()) << "tensor is " << Name(dtype_);
    return static_cast<T*>(data_);
  }

  // Views. Each CHECKs its bounds; Reshape and the flat forms CHECK contiguity.
  Tensor Reshape(Shape shape) const;
  Tensor Slice(int dim, int64_t begin, int64_t end) const;  // [begin, end) of dimension `dim`
  Tensor Rows(int64_t begin, int64_t end) const { return Slice(0, begin, end); }
  Tensor Columns(int64_t begin, int64_t end) const { return Slice(rank() - 1, begin, end); }

  std::string ToString() const;  // "bf16[2, 3] on cpu:0": dtype, shape, device, no elements

 private:
  std::shared_ptr<Storage> storage_;
  void* data_ = nullptr;
  Shape shape_;
  Shape strides_;
  DType dtype_ = DType::kF32;
  Device device_;
};

}  // namespace photon
