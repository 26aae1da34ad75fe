// The data of a study: losses stand in one table, so all of its runs are trained on the same tokens and scored on the
// same. They are known again by what the token files hold, wherever these lie: those trained on as the checkpoints of
// the runs tell (whatever calls of `photon study` they are of), those validated on as OUT/valid.textproto does.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "study/plan.h"

namespace photon::study {

// kFailedPrecondition, naming the file and the run, where the folder's runs were trained or scored on other data than
// `options` name. What a folder doesn't tell (nothing was saved yet; it was begun before this was kept) is let pass.
// Otherwise errors as OpenData. Writes nothing.
absl::Status CheckData(const Options& options, const std::vector<PlannedRun>& runs);

// The same, and where the folder, which must exist, tells no validation data yet, those of `options` are kept as its.
absl::Status CheckAndKeepData(const Options& options, const std::vector<PlannedRun>& runs);

}  // namespace photon::study
