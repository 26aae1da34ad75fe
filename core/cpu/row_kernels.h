// Inner loops over one contiguous row, shared by several operations.
#pragma once

#include "core/cpu/simd.h"

namespace photon::cpu {

// out[j] = in[j], converted.
template <typename In, typename Out>
inline void CastRow(const In* in, Out* out, int64_t n) {
  using A = AccumulateType<Out>;
  if constexpr (std::is_same_v<AccumulateType<In>, A>) {
    int64_t j = 0;
    for (; j + kLanes<A> <= n; j += kLanes<A>) Store(out + j, Load(in + j));
    StorePartial(out + j, n - j, LoadPartial(in + j, n - j));
  } else {
    for (int64_t j = 0; j < n; ++j) out[j] = Out(static_cast<A>(static_cast<AccumulateType<In>>(in[j])));
  }
}

// out[j] += in[j], in out's accumulate type.
template <typename In, typename Out>
inline void AddRow(const In* in, Out* out, int64_t n) {
  using A = AccumulateType<Out>;
  if constexpr (std::is_same_v<AccumulateType<In>, A>) {
    int64_t j = 0;
    for (; j + kLanes<A> <= n; j += kLanes<A>) Store(out + j, Load(out + j) + Load(in + j));
    StorePartial(out + j, n - j, LoadPartial(out + j, n - j) + LoadPartial(in + j, n - j));
  } else {
    for (int64_t j = 0; j < n; ++j) {
      out[j] = Out(static_cast<A>(out[j]) + static_cast<A>(static_cast<AccumulateType<In>>(in[j])));
    }
  }
}

}  // namespace photon::cpu
