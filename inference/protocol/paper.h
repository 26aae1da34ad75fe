// What the paper's tables say of its models (arXiv 2512.20687, tables 2 and 3; one H200 node), to stand beside ours.
#pragma once

#include <string>
#include <vector>

#include "inference/generate_options.h"

namespace photon {

struct PaperFigures {
  std::string model;  // the config's name: "photon-600m"
  GenerationMode mode;
  // Prefill-heavy (2048 in, 128 out) and decode-heavy (128 in, 2048 out): thousands of tokens a second and GiB, GiB a
  // sequence, thousands of tokens a second.
  double tpm[2], gib[2], throughput[2];
};

const std::vector<PaperFigures>& PaperTable();
// Null where the paper has no such row.
const PaperFigures* FindInPaper(const std::string& model, GenerationMode mode);

}  // namespace photon
