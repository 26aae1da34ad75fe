#include <algorithm>

#include "core/cpu/kernels.h"
#include "core/cpu/parallel_for.h"
#include "core/cpu/row_kernels.h"

namespace photon::cpu {
namespace {

constexpr int64_t kGrain = 16384;  // elements: below some 10 us of work a second thread costs more than it brings

// Calls f(in_row, out_row, n) on runs of contiguous elements that cover both tensors, shared among the threads.
template <typename In, typename Out, typename F>
void ForEachRun(const Tensor& in, const Tensor& out, F&& f) {
  const In* source = in.data<In>();
  Out* target = out.data<Out>();
  if (in.contiguous() && out.contiguous()) {
    ParallelFor(in.elements(), kGrain,
                [&](int64_t begin, int64_t end) { f(source + begin, target + begin, end - begin); });
    return;
  }
  const int64_t width = in.dim(1);
  ParallelFor(in.dim(0), kGrain / std::max<int64_t>(width, 1), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) f(source + i * in.stride(0), target + i * out.stride(0), width);
  });
}

template <typename F>
void VisitPair(const Tensor& in, const Tensor& out, F&& f) {
  VisitFloat(in.dtype(), [&](auto in_tag) { VisitFloat(out.dtype(), [&](auto out_tag) { f(in_tag, out_tag); }); });
}

// Sums the columns [column, column + width) of all rows; one vector of columns in a register. Blocks of rows are summed
// apart and then together, so that the rounding error grows with the block and the number of blocks, not with N.
template <typename T>
void SumColumns(const T* in, int64_t stride, int64_t rows, int64_t width, AccumulateType<T>* out) {
  using A = AccumulateType<T>;
  constexpr int64_t kBlock = 64;
  const bool whole = width == kLanes<A>;
  Vec<A> total{};
  for (int64_t begin = 0; begin < rows; begin += kBlock) {
    Vec<A> sum{};
    const int64_t end = std::min(rows, begin + kBlock);
    for (int64_t i = begin; i < end; ++i) sum += whole ? Load(in + i * stride) : LoadPartial(in + i * stride, width);
    total += sum;
  }
  StorePartial(out, width, LoadPartial(out, width) + total);
}

}  // namespace

void Cast(const Context&, const Tensor& in, const Tensor& out) {
  VisitPair(in, out, [&](auto in_tag, auto out_tag) {
    using In = decltype(in_tag);
    using Out = decltype(out_tag);
    ForEachRun<In, Out>(in, out, [](const In* a, Out* b, int64_t n) { CastRow(a, b, n); });
  });
}

void Add(const Context&, const Tensor& in, const Tensor& out) {
  VisitPair(in, out, [&](auto in_tag, auto out_tag) {
    using In = decltype(in_tag);
    using Out = decltype(out_tag);
    ForEachRun<In, Out>(in, out, [](const In* a, Out* b, int64_t n) { AddRow(a, b, n); });
  });
}

// Threads split columns, so the order of every sum is the same whatever their number.
void SumRows(const Context&, const Tensor& in, const Tensor& out) {
  const int64_t rows = in.dim(0);
  const int64_t width = in.dim(1);
  VisitFloat(in.dtype(), [&](auto tag) {
    using T = decltype(tag);
    using A = AccumulateType<T>;
    const int64_t vectors = (width + kLanes<A> - 1) / kLanes<A>;
    const int64_t grain = std::max<int64_t>(1, kGrain / std::max<int64_t>(rows * kLanes<A>, 1));
    ParallelFor(vectors, grain, [&](int64_t begin, int64_t end) {
      for (int64_t v = begin; v < end; ++v) {
        const int64_t column = v * kLanes<A>;
        SumColumns(in.data<T>() + column, in.stride(0), rows, std::min<int64_t>(kLanes<A>, width - column),
                   out.data<A>() + column);
      }
    });
  });
}

}  // namespace photon::cpu
