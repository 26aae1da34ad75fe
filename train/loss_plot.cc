#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "core/gnuplot.h"
#include "train/metrics.h"

namespace photon {
namespace {

struct Curves {
  std::string training, validation;  // "step loss" lines, gnuplot's own inline data
};

Curves ReadCurves(const std::string& path) {
  Curves curves;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    const auto entry = nlohmann::json::parse(line, nullptr, false);
    if (!entry.is_object() || !entry.contains("step")) continue;
    const auto add = [&](const char* key, std::string* out) {
      if (entry.contains(key) && entry[key].is_number()) {
        absl::StrAppend(out, entry["step"].get<int64_t>(), " ", entry[key].get<double>(), "\n");
      }
    };
    add("ce", &curves.training);
    add("valid_loss", &curves.validation);
  }
  return curves;
}

}  // namespace

absl::Status PlotLoss(const std::string& run_dir, double unigram_entropy) {
  const Curves curves = ReadCurves(run_dir + "/metrics.jsonl");
  if (curves.training.empty()) return absl::FailedPreconditionError("no steps to draw");
  std::string script = absl::StrCat(
      "set terminal png size 960,600\nset output 'loss.png'\nset xlabel 'step'\n",
      "set ylabel 'cross-entropy, nats per token'\nset grid\nset key top right\n$train << E\n", curves.training, "E\n");
  if (!curves.validation.empty()) absl::StrAppend(&script, "$valid << E\n", curves.validation, "E\n");
  absl::StrAppend(&script, "plot $train with lines lw 1 lc rgb '#7aa6d8' title 'training'");
  if (!curves.validation.empty()) {
    absl::StrAppend(&script, ", $valid with linespoints lw 2 pt 7 lc rgb '#c0392b' title 'validation'");
  }
  if (unigram_entropy > 0) {
    absl::StrAppend(&script, ", ", unigram_entropy, " with lines dt 2 lc rgb '#555555' title 'unigram entropy'");
  }
  absl::StrAppend(&script, "\n");
  return DrawByGnuplot(run_dir, "loss", script);
}

}  // namespace photon
