// The options of `photon generate` that say how tokens are chosen and what ends a text.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "inference/generate_options.h"

namespace photon {

// Of one prompt: all are held until the last is done.
inline constexpr int64_t kMostOfflineContinuations = 65536;

struct SamplingFlags {
  bool greedy = false;
  bool ignore_eos = false;
  std::vector<std::string> logit_bias = {};
  std::vector<std::string> bad_words = {};  // the checkpoint's tokenizer knows their tokens
  GenerateOptions options = {};             // what the other flags said, once Resolve() was called
};

// `flags` outlives the parsing.
void AddSamplingFlags(CLI::App& command, SamplingFlags* flags);

// Reads what is left to read (biases) and judges the rest. kInvalidArgument naming the option.
absl::Status Resolve(SamplingFlags* flags);

}  // namespace photon
