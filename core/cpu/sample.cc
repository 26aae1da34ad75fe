#include <vector>

#include "core/cpu/kernels.h"
#include "core/cpu/parallel_for.h"
#include "core/cpu/row_kernels.h"
#include "core/cpu/sampler.h"
#include "core/random.h"

namespace photon::cpu {

void SampleRows(const Context& context, const Tensor& logits, const ops::SampleParameters& parameters,
                const Tensor& ids, const Tensor& log_probabilities) {
  const int64_t width = logits.dim(1);
  VisitComputedIn<float>(logits.dtype(), [&](auto tag) {
    using T = decltype(tag);
    ParallelFor(logits.dim(0), RowGrain(width), [&](int64_t begin, int64_t end) {
      Sampler<float> sampler;
      std::vector<float> row(width);
      for (int64_t i = begin; i < end; ++i) {
        CastRow(logits.data<T>() + i * width, row.data(), width);
        for (float& logit : row) logit = logit == logit ? logit : -std::numeric_limits<float>::infinity();
        const double* settings = parameters.settings.data<double>() + 4 * i;
        const auto* stream = reinterpret_cast<const uint64_t*>(parameters.streams.data<int64_t>() + 2 * i);
        const double uniform = Philox(stream[0], stream[1]).Uniform(parameters.index.data<int64_t>()[i]);
        ids.data<int32_t>()[i] = sampler.Sample(row,
                                                {.temperature = settings[0],
                                                 .top_k = parameters.top_k.data<int32_t>()[i],
                                                 .top_p = settings[1],
                                                 .min_p = settings[2],
                                                 .typical_p = settings[3]},
                                                uniform);
      }
    });
  });
  if (!log_probabilities.defined()) return;
  CrossEntropyForward(context, logits, ids, Tensor(), log_probabilities);
  float* values = log_probabilities.data<float>();
  for (int64_t i = 0; i < log_probabilities.dim(0); ++i) values[i] = -values[i];
}

}  // namespace photon::cpu
