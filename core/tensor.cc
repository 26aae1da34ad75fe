#include "core/tensor.h"

#include "absl/strings/str_cat.h"

namespace photon {
namespace {

Shape ContiguousStrides(const Shape& shape) {
  Shape strides = shape;
  int64_t stride = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    strides[i] = stride;
    stride *= shape[i];
  }
  return strides;
}

// Where there is no memory, the message says for what.
std::shared_ptr<Storage> Allocate(Allocator& allocator, const Shape& shape, DType dtype) {
  try {
    return allocator.Allocate(shape.elements() * ByteSize(dtype));
  } catch (const OutOfMemory& error) {
    throw OutOfMemory(absl::StrCat(error.what(), " (for a tensor ", Name(dtype), shape.ToString(), ")"));
  }
}

}  // namespace

Tensor::Tensor(Allocator& allocator, Device device, Shape shape, DType dtype)
    : storage_(Allocate(allocator, shape, dtype)),
      data_(storage_->data()),
      shape_(std::move(shape)),
      strides_(ContiguousStrides(shape_)),
      dtype_(dtype),
      device_(device) {}

Tensor Tensor::Wrap(void* data, Shape shape, DType dtype, Device device) {
  Tensor t;
  t.data_ = data;
  t.strides_ = ContiguousStrides(shape);
  t.shape_ = std::move(shape);
  t.dtype_ = dtype;
  t.device_ = device;
  return t;
}

bool Tensor::contiguous() const {
  int64_t stride = 1;
  for (int i = rank() - 1; i >= 0; --i) {
    if (shape_[i] != 1 && strides_[i] != stride) return false;
    stride *= shape_[i];
  }
  return true;
}

Tensor Tensor::Reshape(Shape shape) const {
  PHOTON_CHECK(contiguous()) << "[reshape] of a strided " << ToString();
  PHOTON_CHECK_EQ(shape.elements(), elements()) << "[reshape] " << ToString() << " to " << shape;
  Tensor t = *this;
  t.strides_ = ContiguousStrides(shape);
  t.shape_ = std::move(shape);
  return t;
}

Tensor Tensor::Slice(int dim, int64_t begin, int64_t end) const {
  PHOTON_CHECK(dim >= 0 && dim < rank() && 0 <= begin && begin <= end && end <= shape_[dim])
      << "[slice] " << begin << ":" << end << " of dimension " << dim << " of " << ToString();
  Tensor t = *this;
  t.data_ = static_cast<char*>(data_) + begin * strides_[dim] * static_cast<int64_t>(ByteSize(dtype_));
  t.shape_[dim] = end - begin;
  return t;
}

std::string Tensor::ToString() const {
  if (!defined()) return "undefined tensor";
  return absl::StrCat(Name(dtype_), shape_.ToString(), " on ", device_.type == DeviceType::kCpu ? "cpu" : "cuda", ":",
                      device_.index);
}

}  // namespace photon
