#include "inference/protocol/protocol.h"

#include <algorithm>
#include <bit>
#include <memory>

#include "configs/model_config.h"
#include "core/matrix_peak.h"
#include "core/random.h"
#include "core/read_bandwidth.h"
#include "core/rounding.h"
#include "core/time.h"
#include "inference/engine/engine.h"
#include "inference/engine/state_size.h"

namespace photon {
namespace {

constexpr double kGiB = 1 << 30;

struct Deaf : RequestListener {
  void OnTokens(int64_t, absl::Span<const int32_t>, absl::Span<const Choice>, absl::string_view) override {}
  void OnFinish(int64_t, const Continuation&) override {}
  void OnEnd(const absl::Status& end) override { status.Update(end); }
  absl::Status status;  // of the first sequence that failed
};

// Sequences of random ids, all read before the first is continued, each to its end. The most bytes that states held.
absl::StatusOr<int64_t> Continue(const Decoder& decoder, GenerationMode mode, int64_t prompt, int64_t tokens,
                                 int64_t batch) {
  Engine engine(decoder, nullptr,
                {.state_bytes = int64_t{1} << 60,
                 .max_running = batch,
                 .max_waiting = batch,
                 .prefill_tokens = kPrefillTokens,
                 .prompts_first = true,
                 .share_prefixes = false});
  const int vocabulary = decoder.model().config().vocab_size();
  const auto deaf = std::make_shared<Deaf>();
  for (int64_t i = 0; i < batch; ++i) {
    EngineRequest request = {.options = {.mode = mode, .max_new_tokens = tokens}};
    const Philox draw(/*key=*/1, /*stream=*/i);
    for (int64_t t = 0; t < prompt; ++t) {
      request.prompt.push_back(static_cast<int32_t>(draw.Uniform(t) * vocabulary));
    }
    const auto submitted = engine.Submit(std::move(request), deaf);
    PHOTON_CHECK(submitted.ok()) << submitted.status();
  }
  int64_t most = 0;
  while (engine.Step()) most = std::max(most, engine.stats().state_bytes());
  decoder.context().Synchronize();
  PHOTON_RETURN_IF_ERROR(deaf->status);
  return most;
}

}  // namespace

double ProtocolResult::Tpm(const ProtocolRun& run) const {
  return run.tokens_per_s / 1e3 / (memory_per_sequence / kGiB);
}

Protocol::Protocol(OpenedDevice& device, DType compute)
    : device_(device),
      context_(device.MakeContext(/*profiler=*/nullptr)),
      compute_(compute),
      counting_(context_.device(), CountingBackend::Over(context_.backend()), context_.allocator(), context_.stream()) {
}

const Ceilings& Protocol::MeasureCeilings() {
  ceilings_ = {.bytes_per_s = MeasureReadBandwidth(context_), .flops_per_s = MeasureMatrixPeak(context_, compute_)};
  measured_at_ = Now();
  return ceilings_;
}

int64_t Protocol::LargestBatch(const LanguageModel& model, GenerationMode mode, const ProtocolShape& shape,
                               int64_t most) {
  const std::unique_ptr<Decoder> decoder = Decoder::Create(context_, model);
  const int64_t rows = ByMetaContexts(model.levels(), mode) ? ChunkProduct(model.config()) / decoder->border() : 1;
  const double logits = static_cast<double>(rows) * model.config().vocab_size() * 8;
  const double each = static_cast<double>(StateSize(*decoder).Most(mode, shape.prompt, shape.tokens)) + logits;
  const Arena& arena = device_.allocator().main();
  const double room = static_cast<double>(device_.memory().free + arena.reserved() - arena.in_use());
  return std::clamp<int64_t>(static_cast<int64_t>(0.8 * room / each), 2, most);
}

// What follows the prompt is counted around its middle, where a sequence has its mean length, and multiplied.
absl::StatusOr<Counts> Protocol::Count(const Decoder& counting, GenerationMode mode, const ProtocolShape& shape,
                                       int64_t batch) {
  const auto count = [&](int64_t prompt, int64_t tokens) -> absl::StatusOr<Counts> {
    const Counts before = CountingBackend::counts();
    PHOTON_RETURN_IF_ERROR(Continue(counting, mode, prompt, tokens, batch).status());
    return CountingBackend::counts() - before;
  };
  const int64_t least = counting.prompt_unit(), unit = RoundUp<int64_t>(16, least);
  const int64_t window = std::max(shape.tokens / 16 / unit, int64_t{1}) * unit;
  const int64_t middle = std::max<int64_t>((shape.prompt + shape.tokens / 2 - window / 2) / unit, 1) * unit;
  PHOTON_ASSIGN_OR_RETURN(const Counts begin, count(shape.prompt, 1));
  PHOTON_ASSIGN_OR_RETURN(const Counts longer, count(middle, window + 1));
  PHOTON_ASSIGN_OR_RETURN(const Counts shorter, count(middle, 1));
  const Counts part = longer - shorter;
  // A mode that goes by meta-contexts has written a whole one where it was asked for a token.
  const bool whole = ByMetaContexts(counting.model().levels(), mode) && shape.prompt % least == 0;
  const int64_t rest = std::max<int64_t>(shape.tokens - (whole ? least : 1), 0);
  const double times = static_cast<double>(rest) / static_cast<double>(window);
  return Counts{
      .weight_bytes = begin.weight_bytes + static_cast<int64_t>(times * static_cast<double>(part.weight_bytes)),
      .cache_bytes = begin.cache_bytes + static_cast<int64_t>(times * static_cast<double>(part.cache_bytes)),
      .flops = begin.flops + times * part.flops,
      .seconds = begin.seconds + times * part.seconds};
}

absl::StatusOr<ProtocolRun> Protocol::RunBatch(const Decoder& decoder, GenerationMode mode, const ProtocolShape& shape,
                                               int64_t batch, Roofline roofline) {
  // What the model keeps for all sequences is made, kernels are chosen, steps recorded: no sequence pays for it. Tables
  // of angles grow by doubling, as caches do.
  decoder.model().RopeTable(context_,
                            static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(shape.prompt + shape.tokens))));
  PHOTON_RETURN_IF_ERROR(Continue(decoder, mode, shape.prompt, std::min<int64_t>(shape.tokens, 40), batch).status());
  // What was measured behind the last batch a moment ago still holds.
  constexpr double kMoment = 1;
  Ceilings before;
  if (roofline == Roofline::kMeasured) {
    before = measured_at_ >= 0 && Now() - measured_at_ < kMoment ? ceilings_ : MeasureCeilings();
  }
  Arena& arena = device_.allocator().main();
  arena.ResetPeak();
  ProtocolRun run = {.batch = batch};
  const double begin = Now();
  PHOTON_ASSIGN_OR_RETURN(run.state_bytes, Continue(decoder, mode, shape.prompt, shape.tokens, batch));
  run.seconds = Now() - begin;
  run.tokens_per_s = static_cast<double>(batch * shape.tokens) / run.seconds;
  run.peak_bytes = static_cast<int64_t>(arena.peak() + decoder.steps().bytes());
  if (roofline == Roofline::kLeftOut) return run;
  const Ceilings& after = MeasureCeilings();
  run.ceilings = {.bytes_per_s = (before.bytes_per_s + after.bytes_per_s) / 2,
                  .flops_per_s = (before.flops_per_s + after.flops_per_s) / 2};
  return run;
}

absl::StatusOr<ProtocolResult> Protocol::Run(const LanguageModel& model, GenerationMode mode,
                                             const ProtocolShape& shape, const std::vector<int64_t>& batches,
                                             Roofline roofline) {
  PHOTON_CHECK(batches.size() >= 2 && batches.front() < batches.back());
  const std::unique_ptr<Decoder> counting = Decoder::Create(counting_, model);
  ProtocolResult result;
  for (const int64_t batch : batches) {
    // A decoder of its own: the steps that it records are of this batch.
    const std::unique_ptr<Decoder> decoder = Decoder::Create(context_, model, &device_);
    PHOTON_ASSIGN_OR_RETURN(ProtocolRun run, RunBatch(*decoder, mode, shape, batch, roofline));
    if (roofline == Roofline::kMeasured) {
      CountingBackend::Over(context_.backend(), run.ceilings);
      PHOTON_ASSIGN_OR_RETURN(run.counts, Count(*counting, mode, shape, batch));
    }
    result.runs.push_back(run);
  }
  const ProtocolRun &first = result.runs.front(), &last = result.runs.back();
  result.memory_per_sequence =
      static_cast<double>(last.peak_bytes - first.peak_bytes) / static_cast<double>(last.batch - first.batch);
  return result;
}

}  // namespace photon
