// The options of commands that continue many sequences at once.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "inference/engine/engine.h"
#include "inference/loaded_model.h"

namespace photon {

struct EngineFlags {
  bool batch_invariant = false;
  bool no_prefix_sharing = false;
  EngineOptions options;  // what the other flags said
};

// Returns them. `flags` outlives the parsing.
std::vector<CLI::Option*> AddEngineFlags(CLI::App& command, EngineFlags* flags);
// kInvalidArgument naming the option.
absl::StatusOr<EngineOptions> Resolve(const EngineFlags& flags);
// kInvalidArgument where --state-memory holds no meta-context in some mode. Warns where it is more than there is.
absl::Status CheckStateMemory(const EngineOptions& options, const Decoder& decoder, const OpenedDevice& device);
// On stderr, where `bytes` are more than the device has free: "warning: WHAT 5 GB, and 4 GB are available: ..".
void WarnOfMemory(absl::string_view what, int64_t bytes, const OpenedDevice& device);
// In f32 a request's tokens are always those it gets alone; in bf16 where that was asked for.
void SetBatchInvariant(const EngineFlags& flags, const std::string& dtype, LoadedModel& loaded);

}  // namespace photon
