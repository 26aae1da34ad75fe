// Reading, completing, checking and printing the file that describes one run (run.proto, Protobuf text format).
//
// Messages of errors name the file and line, or the field, and what to do. Any thread.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "configs/run.pb.h"

namespace photon {

// Reads `path` and applies `overrides` ("model.width=256") in order. kNotFound for a missing file; kInvalidArgument for
// an unknown field or enum value (the nearest known one is named), a value of the wrong type, a field given twice. Does
// not judge the values: see ValidateRun.
absl::StatusOr<RunConfig> LoadRunConfig(const std::string& path, const std::vector<std::string>& overrides = {});

// The same for text; `name` stands for the file in messages.
absl::StatusOr<RunConfig> ParseRunConfig(const std::string& text, const std::string& name);

// Sets one field from "path=value". Entries of repeated fields are numbered from 0 ("model.levels.0.chunk=2"), and must
// be there, but for parallel.levels, where those before them get the defaults; enum values go by name; strings need no
// quotes; a list of strings becomes that one. An empty value clears the field, repeated ones too ("model.levels=").
absl::Status ApplyOverride(absl::string_view assignment, RunConfig* config);

// A copy with every default written out, also those that follow from other fields or the number of ranks: kv_heads,
// align, micro_batch_sequences, dp. Optional fields without a default (data.valid, data.tokenizer, data.chat_template,
// model.layers) stay unset, and so does what follows from the ranks where the axes do not multiply to them. Idempotent.
RunConfig Resolved(const RunConfig& config, int world_size);

// kInvalidArgument, naming the field and the remedy, for everything that can't be trained on `world_size` ranks. Unset
// fields count with their defaults, so it may come before or after Resolved. Includes ValidateModel.
absl::Status ValidateRun(const RunConfig& config, int world_size);

std::string ToText(const google::protobuf::Message& message);

}  // namespace photon
