#include "core/token_batch.h"

#include <algorithm>

#include "core/check.h"

namespace photon {

TokenBatch TokenBatch::FromIds(absl::Span<const int32_t> ids, int64_t align, bool score_first) {
  PHOTON_CHECK(align >= 1) << "align " << align;
  const int64_t count = static_cast<int64_t>(ids.size());
  TokenBatch batch;
  batch.sequences = 1;
  batch.length = (count + align - 1) / align * align;
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

}  // namespace photon
