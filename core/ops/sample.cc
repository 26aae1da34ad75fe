#include "core/ops/sample.h"

#include "core/backend.h"

namespace photon::ops {

void SampleRows(const Context& context, const Tensor& logits, const SampleParameters& parameters, const Tensor& ids,
                const Tensor& log_probabilities) {
  constexpr int64_t kMostTokens = int64_t{1} << 19;
  const int64_t rows = logits.rank() == 2 ? logits.dim(0) : -1;
  const auto fits = [](const Tensor& t, const Shape& shape, DType dtype) {
    return t.defined() && t.shape() == shape && t.dtype() == dtype && t.contiguous();
  };
  PHOTON_CHECK(rows >= 0 && logits.contiguous() && logits.dim(1) >= 1 && logits.dim(1) <= kMostTokens &&
               (logits.dtype() == DType::kF32 || logits.dtype() == DType::kBF16))
      << "[sample_rows] logits " << logits.ToString() << ": want [N, V] f32 or bf16, contiguous, V at most "
      << kMostTokens;
  PHOTON_CHECK(fits(parameters.settings, {rows, 4}, DType::kF64) && fits(parameters.top_k, {rows}, DType::kI32) &&
               fits(parameters.streams, {rows, 2}, DType::kI64) && fits(parameters.index, {rows}, DType::kI64) &&
               fits(ids, {rows}, DType::kI32) &&
               (!log_probabilities.defined() || fits(log_probabilities, {rows}, DType::kF32)))
      << "[sample_rows] logits " << logits.ToString() << ", settings " << parameters.settings.ToString() << ", top_k "
      << parameters.top_k.ToString() << ", streams " << parameters.streams.ToString() << ", index "
      << parameters.index.ToString() << ", ids " << ids.ToString() << ", log_probabilities "
      << log_probabilities.ToString();
  if (rows > 0) context.backend().sample_rows(context, logits, parameters, ids, log_probabilities);
}

}  // namespace photon::ops
