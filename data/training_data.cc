#include "data/training_data.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "core/check.h"

namespace photon {

TrainingData::TrainingData(std::vector<NamedDataset> sources, std::shared_ptr<const Blend> blend)
    : sources_(std::move(sources)), blend_(std::move(blend)) {
  PHOTON_CHECK(!sources_.empty() && static_cast<int>(sources_.size()) == blend_->sources());
}

absl::StatusOr<TokenBatch> TrainingData::Batch(int64_t step, int64_t batch_sequences, int64_t first,
                                               int64_t count) const {
  PHOTON_CHECK(step >= 0 && first >= 0 && count > 0 && first + count <= batch_sequences);
  TokenBatch batch = Dataset::EmptyBatch(options(), count);
  std::vector<std::optional<Dataset::Filler>> fillers(sources_.size());
  for (int64_t row = 0; row < count; ++row) {
    const Blend::Place place = blend_->At(step * batch_sequences + first + row);
    std::optional<Dataset::Filler>& filler = fillers[place.source];
    if (!filler.has_value()) filler.emplace(*sources_[place.source].dataset);
    PHOTON_RETURN_IF_ERROR(filler->FillRanked(place.rank, row, &batch));
  }
  return batch;
}

absl::Status TrainingData::CheckUnchanged() const {
  for (const NamedDataset& source : sources_) PHOTON_RETURN_IF_ERROR(source.dataset->CheckUnchanged());
  return absl::OkStatus();
}

int64_t TrainingData::StepsOfOneEpoch(int64_t batch_sequences) const {
  int64_t samples = blend_->PositionOf(0, sources_[0].dataset->samples());
  for (int s = 1; s < blend_->sources(); ++s) {
    samples = std::min(samples, blend_->PositionOf(s, sources_[s].dataset->samples()));
  }
  return samples / batch_sequences;
}

double TrainingData::Epochs(int source, int64_t steps, int64_t batch_sequences) const {
  return static_cast<double>(blend_->Count(source, steps * batch_sequences)) /
         static_cast<double>(sources_[source].dataset->samples());
}

std::vector<TrainingData::EpochBegin> TrainingData::EpochsBegun(int64_t step, int64_t batch_sequences) const {
  std::vector<EpochBegin> begun;
  for (int64_t n = step * batch_sequences; n < (step + 1) * batch_sequences; ++n) {
    const Blend::Place place = blend_->At(n);
    const int64_t samples = sources_[place.source].dataset->samples();
    if (place.rank > 0 && place.rank % samples == 0) begun.push_back({place.source, place.rank / samples});
  }
  return begun;
}

}  // namespace photon
