// The layouts that a plan considers, and a first guess of what each takes, without a dry run: to choose which to look
// at.
#pragma once

#include <vector>

#include "configs/run.pb.h"
#include "plan/prediction.h"

namespace photon {

struct Candidate {
  RunConfig config;
  double guess_s = 0;  // seconds of a step
  double memory = 0;   // bytes of a rank
};

// Every way to share `devices` that the model and the batch can have, with tp inside a node; of modules under tp, the
// kinds that make sense together: encoders by heads or by positions, decoders by windows or by heads. Of microbatches
// the largest number of sequences that keeps a pipeline busy, half as many, .., and one. Those that seem to need more
// than the memory are left out. The best guess first.
std::vector<Candidate> Candidates(const RunConfig& config, const Machine& machine, int devices);

}  // namespace photon
