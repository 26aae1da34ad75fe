// Element types of tensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "absl/strings/string_view.h"
#include "core/check.h"
#include "core/host_device.h"

namespace photon {

// f64 exists for tests (gradient checks against differences); u8 for masks and flags.
enum class DType : uint8_t { kF64, kF32, kBF16, kI64, kI32, kU16, kU8 };

size_t ByteSize(DType dtype);
absl::string_view Name(DType dtype);                    // "f32", as in configs and messages
bool ParseDType(absl::string_view name, DType* dtype);  // false where the name is unknown

// Upper 16 bits of a float. Conversion to it rounds to nearest, ties to even; NaN stays NaN.
struct BFloat16 {
  uint16_t bits = 0;

  BFloat16() = default;
  PHOTON_HOST_DEVICE explicit BFloat16(float value) {
    const uint32_t u = BitsOf(value);
    bits = (u & 0x7fffffffu) > 0x7f800000u ? static_cast<uint16_t>((u >> 16) | 0x40u)
                                           : static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
  }
  PHOTON_HOST_DEVICE explicit operator float() const { return FromBits(static_cast<uint32_t>(bits) << 16); }
  PHOTON_HOST_DEVICE explicit operator double() const { return static_cast<float>(*this); }

 private:
  // Not std::bit_cast, which no kernel may call.
  PHOTON_HOST_DEVICE static uint32_t BitsOf(float value) { return __builtin_bit_cast(uint32_t, value); }
  PHOTON_HOST_DEVICE static float FromBits(uint32_t bits) { return __builtin_bit_cast(float, bits); }
};

template <typename T>
constexpr DType DTypeOf() {
  if constexpr (std::is_same_v<T, double>)
    return DType::kF64;
  else if constexpr (std::is_same_v<T, float>)
    return DType::kF32;
  else if constexpr (std::is_same_v<T, BFloat16>)
    return DType::kBF16;
  else if constexpr (std::is_same_v<T, int64_t>)
    return DType::kI64;
  else if constexpr (std::is_same_v<T, int32_t>)
    return DType::kI32;
  else if constexpr (std::is_same_v<T, uint16_t>)
    return DType::kU16;
  else if constexpr (std::is_same_v<T, uint8_t>)
    return DType::kU8;
  else
    static_assert(!sizeof(T*), "no DType for this type");
}

// The type that arithmetic on T is done in: double for double, float for float and bf16.
template <typename T>
using AccumulateType = std::conditional_t<std::is_same_v<T, double>, double, float>;

// Calls f(T{}) with the C++ type of a floating dtype: VisitFloat(t.dtype(), [&](auto tag) { using T = decltype(tag); ..
// }).
template <typename F>
decltype(auto) VisitFloat(DType dtype, F&& f) {
  switch (dtype) {
    case DType::kF64:
      return f(double{});
    case DType::kBF16:
      return f(BFloat16{});
    default:
      PHOTON_CHECK(dtype == DType::kF32) << "not a floating dtype: " << Name(dtype);
      return f(float{});
  }
}

// The same for a dtype whose arithmetic is done in A: double alone, or float and bf16.
template <typename A, typename F>
void VisitComputedIn(DType dtype, F&& f) {
  if constexpr (std::is_same_v<A, double>) {
    f(double{});
  } else if (dtype == DType::kBF16) {
    f(BFloat16{});
  } else {
    f(float{});
  }
}

}  // namespace photon
