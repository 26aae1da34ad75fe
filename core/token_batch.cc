#include "core/token_batch.h"

#include <algorithm>

#include "core/check.h"
#include "core/rounding.h"

namespace photon {

TokenBatch TokenBatch::FromIds(absl::Span<const int32_t> ids, int64_t align, bool score_first) {
  PHOTON_CHECK(align >= 1) << "align " << align;
  const int64_t count = static_cast<int64_t>(ids.size());
  TokenBatch batch;
  batch.sequences = 1;
  batch.length = RoundUp(count, align);
  batch.tokens.assign(batch.length, 0);
  batch.document_begin.assign(batch.length, 0);
  batch.real.assign(batch.length, 0);
  batch.scored.assign(batch.length, 0);
  std::copy(ids.begin(), ids.end(), batch.tokens.begin());
  std::fill_n(batch.real.begin(), count, 1);
  std::fill_n(batch.scored.begin(), count, 1);
  if (count > 0 && !score_first) batch.scored[0] = 0;
  return batch;
}

TokenBatch TokenBatch::Sequences(int64_t begin, int64_t end) const {
  PHOTON_CHECK(0 <= begin && begin <= end && end <= sequences) << begin << ":" << end << " of " << sequences;
  const auto rows = [&](const auto& values) {
    return std::decay_t<decltype(values)>(values.begin() + begin * length, values.begin() + end * length);
  };
  return {.sequences = end - begin,
          .length = length,
          .tokens = rows(tokens),
          .document_begin = rows(document_begin),
          .real = rows(real),
          .scored = rows(scored)};
}

}  // namespace photon
