// The paper's efficiency protocol (arXiv 2512.20687, section 4): so many sequences of random ids in, so many tokens out
// of each, greedy, to the end, through the engine. Memory is what one more sequence takes; throughput counts new tokens
// and the time from the first prompt token to the last new one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/counting_backend.h"
#include "core/device.h"
#include "inference/decoder.h"
#include "inference/generate_options.h"

namespace photon {

struct ProtocolShape {
  std::string name;
  int64_t prompt = 0, tokens = 0;
};

// One batch, run to its end.
struct ProtocolRun {
  int64_t batch = 0;
  double seconds = 0;
  double tokens_per_s = 0;  // new ones
  int64_t peak_bytes = 0;   // weights, states, activations
  int64_t state_bytes = 0;  // the most that states and windows held, all sequences
  // Zeros where the roofline was left out:
  Ceilings ceilings;  // means of what was measured right before and right after: a shared machine's change
  Counts counts;      // what had to be done; counts.seconds is the roofline under these ceilings
};

// Whether what had to be done is counted and the machine's ceilings are measured: more work than the protocol itself.
enum class Roofline { kMeasured, kLeftOut };

struct ProtocolResult {
  std::vector<ProtocolRun> runs;   // by batch, the smallest first
  double memory_per_sequence = 0;  // bytes: (peak at the largest batch - at the smallest) / (their difference)
  // Thousands of new tokens a second and GiB of that memory, at each batch.
  double Tpm(const ProtocolRun& run) const;
};

class Protocol {
 public:
  // `device` outlives it, and is used by nothing else meanwhile. Ceilings are those of products in `compute`.
  Protocol(OpenedDevice& device, DType compute);

  const Context& context() const { return context_; }

  // `batches`: two at least, ascending; the model is allocated in `compute` on the device, and its loading has ended.
  // kDataLoss where it gives logits that are no numbers.
  absl::StatusOr<ProtocolResult> Run(const LanguageModel& model, GenerationMode mode, const ProtocolShape& shape,
                                     const std::vector<int64_t>& batches, Roofline roofline = Roofline::kMeasured);
  // Sequences that the device's free memory holds, a fifth left for activations; `most` at the most.
  int64_t LargestBatch(const LanguageModel& model, GenerationMode mode, const ProtocolShape& shape, int64_t most);

 private:
  const Ceilings& MeasureCeilings();
  absl::StatusOr<ProtocolRun> RunBatch(const Decoder& decoder, GenerationMode mode, const ProtocolShape& shape,
                                       int64_t batch, Roofline roofline);
  absl::StatusOr<Counts> Count(const Decoder& counting, GenerationMode mode, const ProtocolShape& shape, int64_t batch);

  OpenedDevice& device_;
  const Context context_;
  const DType compute_;
  const Context counting_;
  Ceilings ceilings_;        // as they were measured last,
  double measured_at_ = -1;  // at this time
};

}  // namespace photon
