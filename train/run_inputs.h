// What a run starts from, before there is a model: its config and its data. All ranks call these alike.
#pragma once

#include <string>

#include "configs/run.pb.h"
#include "core/status.h"
#include "data/open.h"
#include "parallel/communicator.h"

namespace photon {

// `config` with the model of the checkpoint `init_from` (a checkpoint or run folder) where it has none itself; as it is
// where it has one, or `init_from` is empty.
absl::StatusOr<RunConfig> WithModelOf(const std::string& init_from, Communicator& world, RunConfig config);

// What a run leaves in its folder: `resolved`, with every default written out, but for those that follow from the
// number of ranks where `requested` did not set them: a later run may have another.
RunConfig ForAnyLayout(const RunConfig& requested, RunConfig resolved);

// The token files of a resolved config, on every rank. Where one is not there the error names the fields, and what to
// do if it was moved. Data without a tokenizer of their own get that of the checkpoint that training goes on from: with
// `resume` the run's newest, where it has one, else `init_from`'s.
absl::StatusOr<OpenedData> OpenRunData(Communicator& world, const RunConfig& config, bool resume,
                                       const std::string& init_from);

}  // namespace photon
