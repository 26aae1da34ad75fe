#include "train/metrics.h"

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace photon {
namespace {

using Json = nlohmann::ordered_json;

std::string Path(const std::string& run_dir) { return run_dir + "/metrics.jsonl"; }

// JSON knows no NaN: such a value becomes null.
Json Number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

// Complete lines of steps up to `last`; a line torn by a kill is dropped.
std::vector<std::string> KeptLines(const std::string& path, int64_t last) {
  std::vector<std::string> kept;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    const Json entry = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!entry.is_object() || !entry.contains("step") || !entry["step"].is_number_integer()) continue;
    if (entry["step"].get<int64_t>() <= last) kept.push_back(line);
  }
  return kept;
}

std::string Duration(double seconds) {
  const int64_t s = static_cast<int64_t>(std::lround(seconds));
  if (s >= 3600) return absl::StrFormat("%dh%02dm", s / 3600, s / 60 % 60);
  if (s >= 60) return absl::StrFormat("%dm%02ds", s / 60, s % 60);
  return absl::StrCat(s, "s");
}

}  // namespace

absl::StatusOr<MetricsLog> MetricsLog::Open(const std::string& run_dir, int64_t resumed_step) {
  const std::string path = Path(run_dir), temporary = path + ".tmp";
  const std::vector<std::string> kept = KeptLines(path, resumed_step);
  MetricsLog log;
  {
    std::ofstream out(temporary, std::ios::trunc);
    for (const std::string& line : kept) out << line << '\n';
    if (!out.flush()) return absl::PermissionDeniedError(absl::StrCat(temporary, ": can't be written"));
  }
  std::error_code error;
  std::filesystem::rename(temporary, path, error);
  log.path_ = path;
  log.file_.rdbuf()->pubsetbuf(nullptr, 0);  // a line is one write: a kill loses no step that was done
  log.file_.open(path, std::ios::app);
  if (error || !log.file_) return absl::PermissionDeniedError(absl::StrCat(path, ": can't be written"));
  return log;
}

void MetricsLog::WriteStep(const StepMetrics& m) {
  Json entry = {{"step", m.step},
                {"loss", Number(m.loss)},
                {"ce", Number(m.ce)},
                {"rec", Number(m.rec)},
                {"lr", m.lr},
                {"grad_norm", Number(m.grad_norm)},
                {"tokens", m.tokens},
                {"tokens_per_s", m.tokens_per_s},
                {"mfu", m.mfu},
                {"memory_bytes", m.memory_bytes},
                {"step_s", m.step_s},
                {"data_s", m.data_s},
                {"compute_s", m.compute_s},
                {"communication_s", m.communication_s},
                {"optimizer_s", m.optimizer_s}};
  if (!m.skipped.empty()) entry["skipped"] = m.skipped;
  WriteLine(entry.dump());
}

void MetricsLog::WriteValidation(int64_t step, double loss, int64_t tokens) {
  WriteLine(Json({{"step", step}, {"valid_loss", Number(loss)}, {"valid_tokens", tokens}}).dump());
}

void MetricsLog::WriteLine(const std::string& json) {
  std::error_code ignored;
  const auto size = std::filesystem::file_size(path_, ignored);
  const std::string line = json + '\n';
  if (file_.write(line.data(), line.size())) {
    failing_ = false;
    return;
  }
  file_.clear();
  std::filesystem::resize_file(path_, size, ignored);  // no half line stays
  if (!failing_) spdlog::error("{} can't be written: steps are missing from it until it can", path_);
  failing_ = true;
}

std::string StepLine(const StepMetrics& m, int64_t steps, double seconds_left) {
  std::string line = absl::StrFormat("step %d/%d  loss %.4f  lr %.2e  |g| %.3f  %.1fk tok/s  MFU %.0f %%  %s left", m.step,
                                     steps, m.loss, m.lr, m.grad_norm, m.tokens_per_s / 1000, 100 * m.mfu,
                                     Duration(seconds_left));
  if (!m.skipped.empty()) absl::StrAppend(&line, "  SKIPPED: ", m.skipped);
  return line;
}

}  // namespace photon
