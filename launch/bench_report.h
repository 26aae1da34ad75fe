// How `photon bench paper` shows what it measured.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "inference/protocol/protocol.h"
#include "launch/wanted_picture.h"

namespace photon {

struct PaperRow {
  std::string model;
  GenerationMode mode;
  ProtocolShape shape;
  int64_t parameters = 0;
  bool full_size = false;  // so that the paper's figures are of the same model
  ProtocolResult result;
};

std::string PaperHeader(const std::string& device, const std::string& dtype, const std::vector<ProtocolShape>& shapes);
std::string DescribeRow(const PaperRow& row);  // a line a batch
// Speed and TPM over those of the flat model of the same size, where there is one: at equal batches, and, as the paper
// compares, each at its own largest.
std::string CompareKinds(const std::vector<PaperRow>& rows);
// `complete`: no more rows are to come.
std::string ToJson(const std::vector<PaperRow>& rows, const std::string& device, const std::string& dtype,
                   bool complete);
// `picture` of TPM at the largest batches, the paper's beside ours.
absl::Status DrawRows(const std::vector<PaperRow>& rows, const WantedPicture& picture);

}  // namespace photon
