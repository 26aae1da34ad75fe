#include <algorithm>

#include "core/cpu/kernels.h"
#include "core/cpu/parallel_for.h"
#include "core/cpu/row_kernels.h"

namespace photon::cpu {
namespace {

// Calls f(in_row, out_row, n) on runs of contiguous elements that cover both tensors, shared among the threads.
template <typename In, typename Out, typename F>
void ForEachRun(const Tensor& in, const Tensor& out, F&& f) {
  const In* source = in.data<In>();
  Out* target = out.data<Out>();
  if (in.contiguous() && out.contiguous()) {
    ParallelFor(in.elements(), RowGrain(1),
                [&](int64_t begin, int64_t end) { f(source + begin, target + begin, end - begin); });
    return;
  }
  const int64_t width = in.dim(1);
  ParallelFor(in.dim(0), RowGrain(width), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) f(source + i * in.stride(0), target + i * out.stride(0), width);
  });
}

template <typename F>
void VisitPair(const Tensor& in, const Tensor& out, F&& f) {
  VisitFloat(in.dtype(), [&](auto in_tag) { VisitFloat(out.dtype(), [&](auto out_tag) { f(in_tag, out_tag); }); });
}

// out[j] += sum over `rows` rows of in[., j], one vector of columns in a register at a time.
template <typename T>
void SumFewRows(const T* in, int64_t stride, int64_t rows, int64_t width, AccumulateType<T>* out) {
  using A = AccumulateType<T>;
  int64_t j = 0;
  for (; j + kLanes<A> <= width; j += kLanes<A>) {
    Vec<A> sum = Load(in + j);
    for (int64_t i = 1; i < rows; ++i) sum += Load(in + i * stride + j);
    Store(out + j, Load(out + j) + sum);
  }
  Vec<A> sum{};
  for (int64_t i = 0; i < rows; ++i) sum += LoadPartial(in + i * stride + j, width - j);
  StorePartial(out + j, width - j, LoadPartial(out + j, width - j) + sum);
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

// Threads split columns, so the order of every sum is the same whatever their number. Eight rows are streamed together
// and summed before `out` is touched: that also shortens the longest chain of roundings eightfold.
void SumRows(const Context&, const Tensor& in, const Tensor& out) {
  constexpr int64_t kRowsTogether = 8;
  const int64_t rows = in.dim(0);
  const int64_t stride = in.stride(0);
  VisitFloat(in.dtype(), [&](auto tag) {
    using T = decltype(tag);
    ParallelFor(in.dim(1), std::max<int64_t>(64, RowGrain(rows)), [&](int64_t begin, int64_t end) {
      for (int64_t i = 0; i < rows; i += kRowsTogether) {
        SumFewRows(in.data<T>() + i * stride + begin, stride, std::min(kRowsTogether, rows - i), end - begin,
                   out.data<AccumulateType<T>>() + begin);
      }
    });
  });
}

}  // namespace photon::cpu
