#include "launch/engine_flags.h"

#include <iostream>

#include "absl/strings/str_cat.h"
#include "configs/model_config.h"
#include "core/human.h"
#include "core/status.h"
#include "inference/engine/state_size.h"
#include "launch/commands.h"

namespace photon {

std::vector<CLI::Option*> AddEngineFlags(CLI::App& command, EngineFlags* flags) {
  EngineOptions& engine = flags->options;
  return {
      command
          .add_option("--state-memory", engine.state_bytes,
                      "For the states of all that runs and of kept prefixes, as in 2GiB")
          ->transform(Bytes())
          ->default_str("1GiB"),
      command.add_option("--max-running", engine.max_running, "Continuations written at once")
          ->check(AtLeast(1))
          ->capture_default_str(),
      command
          .add_option("--max-context", engine.max_context,
                      "Tokens of a prompt and its continuation; 0: as memory allows")
          ->check(AtLeast(0))
          ->capture_default_str(),
      command.add_option("--prefill-tokens", engine.prefill_tokens, "Of prompts, read between two steps of what runs")
          ->check(AtLeast(1))
          ->capture_default_str(),
      command.add_flag("--no-prefix-sharing", flags->no_prefix_sharing, "Read every prompt from its beginning"),
      command.add_flag(
          "--batch-invariant", flags->batch_invariant,
          "With --dtype bf16: tokens don't depend, by rounding, on what runs beside; slower. f32 always does so")};
}

absl::StatusOr<EngineOptions> Resolve(const EngineFlags& flags) {
  EngineOptions options = flags.options;
  if (options.max_context == 1) {
    return absl::InvalidArgumentError("--max-context is 1, and a prompt and its continuation have 2 tokens at least");
  }
  options.share_prefixes = !flags.no_prefix_sharing;
  return options;
}

absl::Status CheckStateMemory(const EngineOptions& options, const Decoder& decoder, const OpenedDevice& device) {
  const ModelConfig& config = decoder.model().config();
  const StateSize size(decoder);
  const int64_t tokens = ChunkProduct(config);
  for (const GenerationMode mode : DistinctModes(config)) {
    const int64_t least = size.Most(mode, /*prompt=*/1, tokens);
    if (options.state_bytes >= least) continue;
    return absl::InvalidArgumentError(absl::StrCat("--state-memory is ", HumanBytes(options.state_bytes), ", and ",
                                                   tokens, " tokens in mode ", Name(mode), " take ", HumanBytes(least),
                                                   ": give room for several long requests"));
  }
  WarnOfMemory("--state-memory is", options.state_bytes, device);
  return absl::OkStatus();
}

void WarnOfMemory(absl::string_view what, int64_t bytes, const OpenedDevice& device) {
  const auto free = static_cast<int64_t>(device.memory().free);  // 0: unknown
  if (free <= 0 || bytes <= free) return;
  std::cerr << absl::StrCat("warning: ", what, " ", HumanBytes(bytes), ", and ", HumanBytes(free),
                            " are available: what fills it ends the program\n");
}

void SetBatchInvariant(const EngineFlags& flags, const std::string& dtype, LoadedModel& loaded) {
  loaded.SetBatchInvariant(flags.batch_invariant || dtype == "f32");
}

}  // namespace photon
