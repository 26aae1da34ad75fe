// Scratch memory for loops over rows that run on several threads.
#pragma once

#include <omp.h>

#include <cstdint>

#include "core/context.h"
#include "core/cpu/simd.h"

namespace photon::cpu {

// Whole vectors of `columns` elements.
template <typename A>
int64_t PaddedColumns(int64_t columns) {
  return (columns + kLanes<A> - 1) / kLanes<A> * kLanes<A>;
}

// Scratch memory of every thread, from the context's allocator: taken once a call, never in the loops; uninitialised.
template <typename A>
class ThreadScratch {
 public:
  ThreadScratch(const Context& context, int64_t elements_per_thread)
      : stride_(PaddedColumns<A>(elements_per_thread)),
        memory_(context.Empty({omp_get_max_threads() * stride_}, DTypeOf<A>())) {}
  A* ThisThread() const { return memory_.template data<A>() + omp_get_thread_num() * stride_; }

 private:
  int64_t stride_;
  Tensor memory_;
};

}  // namespace photon::cpu
