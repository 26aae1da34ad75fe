#include "model/batch_index.h"

#include <algorithm>

namespace photon {

std::vector<int32_t> DocumentUnits(const TokenBatch& batch, int64_t tokens_per_unit) {
  std::vector<int32_t> begin(batch.tokens.size() / tokens_per_unit);
  for (size_t u = 0; u < begin.size(); ++u) {
    begin[u] = static_cast<int32_t>(batch.document_begin[u * tokens_per_unit] / tokens_per_unit);
  }
  return begin;
}

bool AnyMasked(const TokenBatch& batch) {
  return std::any_of(batch.document_begin.begin(), batch.document_begin.end(), [](int32_t begin) { return begin > 0; });
}

std::vector<int32_t> ShiftIndex(const TokenBatch& batch, int64_t tokens_per_unit, Span span) {
  const int64_t units = batch.length / tokens_per_unit / span.count;
  std::vector<int32_t> index = span.Cut(DocumentUnits(batch, tokens_per_unit), batch.sequences);
  for (size_t i = 0; i < index.size(); ++i) {
    const int64_t unit = static_cast<int64_t>(i) % units;
    const int64_t before = unit > 0 ? static_cast<int64_t>(i) - 1 : -2 - static_cast<int64_t>(i) / units;
    index[i] = index[i] == span.index * units + unit ? -1 : static_cast<int32_t>(before);
  }
  return index;
}

std::vector<int32_t> RealUnits(const TokenBatch& batch, int64_t tokens_per_unit) {
  std::vector<int32_t> real(batch.real.size() / tokens_per_unit);
  for (size_t u = 0; u < real.size(); ++u) {
    const auto begin = batch.real.begin() + static_cast<int64_t>(u) * tokens_per_unit;
    real[u] = std::any_of(begin, begin + tokens_per_unit, [](uint8_t r) { return r != 0; });
  }
  return real;
}

std::vector<int32_t> RowTargets(const TokenBatch& batch, int offset) {
  std::vector<int32_t> targets(batch.tokens.size(), -1);
  for (size_t row = 0; row < targets.size(); ++row) {
    const int64_t position = static_cast<int64_t>(row) % batch.length + offset;
    if (position < batch.length && batch.scored[row + offset]) targets[row] = batch.tokens[row + offset];
  }
  return targets;
}

}  // namespace photon
