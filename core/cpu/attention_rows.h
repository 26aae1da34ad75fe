// Rows of one attention head between the tensors' layout and whole vectors of f32 (f64).
#pragma once

#include "core/cpu/attention_tile.h"
#include "core/cpu/thread_scratch.h"
#include "core/ops/attention_heads.h"

namespace photon::cpu {

using ops::FirstQueryHead;

template <typename T>
struct HeadRows {
  T* data;
  int64_t stride;
};
// Rows from `row` on, columns from `column` on, of a matrix.
template <typename T>
HeadRows<T> RowsOf(const Tensor& t, int64_t row, int64_t column) {
  return {t.data<std::remove_const_t<T>>() + row * t.stride(0) + column, t.stride(0)};
}

// True where rows can be read and written in place: no conversion, no partial vector.
template <typename T>
bool InPlace(int64_t columns) {
  return std::is_same_v<T, AccumulateType<T>> && columns % kLanes<AccumulateType<T>> == 0;
}

// Copies rows times `scale` into `to`, zeros behind the last column. The last, partial vector of a row is read again
// from where it overlaps the one before it.
template <typename T>
void CopyIn(HeadRows<const T> from, int64_t rows, int64_t columns, Panel<AccumulateType<T>> to,
            AccumulateType<T> scale = 1) {
  using A = AccumulateType<T>;
  constexpr int n = kLanes<A>;
  const int64_t whole = columns / n * n;
  for (int64_t i = 0; i < rows; ++i) {
    const T* source = from.data + i * from.stride;
    A* target = to.data + i * to.stride;
    for (int64_t c = 0; c < whole; c += n) Store(target + c, Load(source + c) * scale);
    if (whole == columns) continue;
    Store(target + whole, Vec<A>{});
    if (whole > 0) {
      Store(target + columns - n, Load(source + columns - n) * scale);
    } else {
      for (int64_t c = 0; c < columns; ++c) target[c] = static_cast<A>(source[c]) * scale;
    }
  }
}

// The reverse.
template <typename T>
void CopyOut(Panel<const AccumulateType<T>> from, int64_t rows, int64_t columns, HeadRows<T> to,
             AccumulateType<T> scale = 1) {
  using A = AccumulateType<T>;
  constexpr int n = kLanes<A>;
  for (int64_t i = 0; i < rows; ++i) {
    const A* source = from.data + i * from.stride;
    T* target = to.data + i * to.stride;
    for (int64_t c = 0; c + n <= columns; c += n) Store(target + c, Load(source + c) * scale);
    if (columns % n == 0) continue;
    if (columns > n) {
      Store(target + columns - n, Load(source + columns - n) * scale);
    } else {
      for (int64_t c = 0; c < columns; ++c) target[c] = T(source[c] * scale);
    }
  }
}

// The rows as whole vectors: the tensor's own memory where that is possible, else copied into `buffer`.
template <typename T>
Panel<const AccumulateType<T>> Unpack(HeadRows<const T> from, int64_t rows, int64_t columns,
                                      Panel<AccumulateType<T>> buffer) {
  if constexpr (std::is_same_v<T, AccumulateType<T>>) {
    if (InPlace<T>(columns)) return {from.data, from.stride};
  }
  CopyIn(from, rows, columns, buffer);
  return {buffer.data, buffer.stride};
}

// to [columns, kLanes * vectors of rows] = from transposed; rows beyond `rows` become zeros.
template <typename A>
void TransposeRows(Panel<const A> from, int64_t rows, int64_t columns, Panel<A> to) {
  constexpr int n = kLanes<A>;
  for (int64_t r = 0; r < rows; r += n) {
    for (int64_t c = 0; c < columns; c += n) {
      Vec<A> x[n];
#pragma GCC unroll 16
      for (int i = 0; i < n; ++i) x[i] = r + i < rows ? Load(from.data + (r + i) * from.stride + c) : Vec<A>{};
      TransposeSquare<A>(x);
#pragma GCC unroll 16
      for (int i = 0; i < n; ++i) Store(to.data + (c + i) * to.stride + r, x[i]);
    }
  }
}

}  // namespace photon::cpu
