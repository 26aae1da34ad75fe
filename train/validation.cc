#include "train/validation.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "data/unigram.h"

namespace photon {

int64_t ValidationSequences(const Dataset& valid, const TrainingConfig& training) {
  const int64_t wanted = training.valid_sequences();
  return wanted > 0 ? std::min(wanted, valid.samples()) : valid.samples();
}

std::vector<int64_t> ValidationSequences(const std::vector<NamedDataset>& valid, const std::vector<double>& shares,
                                         const TrainingConfig& training) {
  std::vector<int64_t> sequences;
  for (size_t s = 0; s < valid.size(); ++s) {
    const int64_t all = valid[s].dataset->samples();
    const auto wanted = static_cast<int64_t>(std::llround(shares[s] * static_cast<double>(training.valid_sequences())));
    sequences.push_back(training.valid_sequences() > 0 ? std::clamp<int64_t>(wanted, 1, all) : all);
  }
  return sequences;
}

absl::StatusOr<std::vector<TokenBatch>> ValidationBatches(const Dataset& valid, int64_t sequences, int micro_batch,
                                                          int rank, int ranks) {
  const int64_t end = sequences * (rank + 1) / ranks;
  std::vector<TokenBatch> batches;
  for (int64_t first = sequences * rank / ranks; first < end; first += micro_batch) {
    const int64_t count = std::min<int64_t>(micro_batch, end - first);
    PHOTON_ASSIGN_OR_RETURN(TokenBatch batch, valid.Samples(first, count));
    batches.push_back(std::move(batch));
  }
  return batches;
}

absl::StatusOr<std::vector<TokenBatch>> ValidationBatches(const Dataset& valid, const TrainingConfig& training,
                                                          int rank, int ranks) {
  return ValidationBatches(valid, ValidationSequences(valid, training), training.micro_batch_sequences(), rank, ranks);
}

absl::StatusOr<ValidationSet> OpenValidation(const std::vector<NamedDataset>& valid, const Blend& blend,
                                             const TrainingConfig& training, int rank, int ranks) {
  std::vector<double> shares(valid.size(), 1 / std::max<double>(1, static_cast<double>(valid.size())));
  for (size_t s = 0; static_cast<int>(valid.size()) == blend.sources() && s < valid.size(); ++s) {
    shares[s] = blend.share(static_cast<int>(s));
  }
  if (const bool some = static_cast<int>(valid.size()) < blend.sources() && !valid.empty() && valid[0].source >= 0;
      some) {
    double sum = 0;  // sources that nothing is held out of leave their share to the others
    for (const NamedDataset& split : valid) sum += blend.share(split.source);
    for (size_t s = 0; s < valid.size(); ++s) shares[s] = blend.share(valid[s].source) / sum;
  }
  const std::vector<int64_t> sequences = ValidationSequences(valid, shares, training);
  ValidationSet set;
  UnigramCounts counts;
  for (size_t s = 0; s < valid.size(); ++s) {
    set.names.push_back(valid[s].name);
    PHOTON_ASSIGN_OR_RETURN(
        std::vector<TokenBatch> batches,
        ValidationBatches(*valid[s].dataset, sequences[s], training.micro_batch_sequences(), rank, ranks));
    set.batches.push_back(std::move(batches));
    PHOTON_RETURN_IF_ERROR(AddScoredTokens(*valid[s].dataset, sequences[s], &counts));
  }
  set.unigram_entropy = counts.Entropy();
  return set;
}

}  // namespace photon
