#include "inference/protocol/paper.h"

#include <algorithm>

namespace photon {

const std::vector<PaperFigures>& PaperTable() {
  static const auto* const table = new std::vector<PaperFigures>{
      {"vanilla-600m", GenerationMode::kHier, {3.24, 7.35}, {0.275, 0.230}, {0.89, 1.69}},
      {"vanilla-900m", GenerationMode::kHier, {3.99, 6.61}, {0.298, 0.354}, {1.19, 2.34}},
      {"vanilla-1.2b", GenerationMode::kHier, {1.21, 2.56}, {0.439, 0.390}, {0.53, 1.00}},
      {"block-600m", GenerationMode::kHier, {562.73, 1528.71}, {0.044, 0.031}, {24.76, 47.39}},
      {"block-900m", GenerationMode::kHier, {485.74, 1386.05}, {0.054, 0.038}, {26.23, 52.67}},
      {"block-1.2b", GenerationMode::kHier, {205.00, 540.20}, {0.070, 0.051}, {14.35, 27.55}},
      {"photon-600m", GenerationMode::kHier, {1262.58, 3062.17}, {0.031, 0.023}, {39.14, 70.43}},
      {"photon-900m", GenerationMode::kHier, {1141.62, 2797.04}, {0.037, 0.027}, {42.24, 75.52}},
      {"photon-1.2b", GenerationMode::kHier, {543.86, 1216.67}, {0.044, 0.036}, {23.93, 43.80}},
      {"photon-600m", GenerationMode::kRec, {2828.06, 13642.50}, {0.031, 0.012}, {87.67, 163.71}},
  };
  return *table;
}

const PaperFigures* FindInPaper(const std::string& model, GenerationMode mode) {
  const auto& table = PaperTable();
  const auto found = std::find_if(table.begin(), table.end(),
                                  [&](const PaperFigures& row) { return row.model == model && row.mode == mode; });
  return found == table.end() ? nullptr : &*found;
}

}  // namespace photon
