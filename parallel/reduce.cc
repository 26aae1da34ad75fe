#include "parallel/reduce.h"

#include <algorithm>
#include <type_traits>

namespace photon {
namespace {

// Unsigned for integers, so that overflow wraps; what it stands for is the same bits.
template <typename T, typename = void>
struct Sum {
  using type = std::make_unsigned_t<T>;
};
template <typename T>
struct Sum<T, std::enable_if_t<!std::is_integral_v<T>>> {
  using type = AccumulateType<T>;
};

template <typename T>
bool IsNan(T x) {
  return x != x;
}

// A block stays in the first-level cache while all inputs pass over it.
constexpr int64_t kBlock = 1024;

template <typename T, typename A, typename Combine>
void ReduceBlocks(absl::Span<const void* const> inputs, int64_t count, void* out, Combine combine) {
  A total[kBlock];
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t n = std::min(kBlock, count - begin);
    const T* first = static_cast<const T*>(inputs[0]) + begin;
    for (int64_t i = 0; i < n; ++i) total[i] = static_cast<A>(first[i]);
    for (const void* input : inputs.subspan(1)) {
      const T* next = static_cast<const T*>(input) + begin;
      for (int64_t i = 0; i < n; ++i) total[i] = combine(total[i], static_cast<A>(next[i]));
    }
    T* result = static_cast<T*>(out) + begin;
    for (int64_t i = 0; i < n; ++i) result[i] = static_cast<T>(total[i]);
  }
}

template <typename T>
void ReduceAs(Reduction op, absl::Span<const void* const> inputs, int64_t count, void* out) {
  using A = typename Sum<T>::type;                                            // of sums
  using C = std::conditional_t<std::is_integral_v<T>, T, AccumulateType<T>>;  // of comparisons: signs matter
  switch (op) {
    case Reduction::kSum:
      return ReduceBlocks<T, A>(inputs, count, out, [](A a, A b) { return static_cast<A>(a + b); });
    case Reduction::kMax:
      return ReduceBlocks<T, C>(inputs, count, out, [](C a, C b) { return a < b || IsNan(b) ? b : a; });
    case Reduction::kMin:
      return ReduceBlocks<T, C>(inputs, count, out, [](C a, C b) { return b < a || IsNan(b) ? b : a; });
  }
}

}  // namespace

void Reduce(DType dtype, Reduction op, absl::Span<const void* const> inputs, int64_t count, void* out) {
  PHOTON_CHECK(!inputs.empty());
  switch (dtype) {
    case DType::kF64:
      return ReduceAs<double>(op, inputs, count, out);
    case DType::kF32:
      return ReduceAs<float>(op, inputs, count, out);
    case DType::kBF16:
      return ReduceAs<BFloat16>(op, inputs, count, out);
    case DType::kI64:
      return ReduceAs<int64_t>(op, inputs, count, out);
    case DType::kI32:
      return ReduceAs<int32_t>(op, inputs, count, out);
    case DType::kU16:
      return ReduceAs<uint16_t>(op, inputs, count, out);
    case DType::kU8:
      return ReduceAs<uint8_t>(op, inputs, count, out);
  }
}

}  // namespace photon
