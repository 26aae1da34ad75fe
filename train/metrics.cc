#include "train/metrics.h"

#include <spdlog/spdlog.h>

#include <cerrno>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/file.h"
#include "core/human.h"

namespace photon {
namespace {

using Json = nlohmann::ordered_json;

std::string Path(const std::string& run_dir) { return run_dir + "/metrics.jsonl"; }

// JSON knows no NaN: such a value becomes null.
Json Number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

// Complete lines of steps up to `last`; a line torn by a kill is dropped.
std::string KeptLines(const std::string& path, int64_t last) {
  std::string kept;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    const Json entry = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!entry.is_object() || !entry.contains("step") || !entry["step"].is_number_integer()) continue;
    if (entry["step"].get<int64_t>() <= last) absl::StrAppend(&kept, line, "\n");
  }
  return kept;
}

}  // namespace

absl::StatusOr<MetricsLog> MetricsLog::Open(const std::string& run_dir, int64_t resumed_step) {
  const std::string path = Path(run_dir);
  PHOTON_RETURN_IF_ERROR(WriteFile(path, KeptLines(path, resumed_step)));
  MetricsLog log;
  log.path_ = path;
  log.file_.rdbuf()->pubsetbuf(nullptr, 0);  // a line is one write: a kill loses no step that was done
  log.file_.open(path, std::ios::app);
  if (!log.file_) return FileError(errno, "cannot write", path);
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

void MetricsLog::WriteValidation(int64_t step, double loss, int64_t tokens, const std::vector<SourceLoss>& sources) {
  Json entry = {{"step", step}, {"valid_loss", Number(loss)}, {"valid_tokens", tokens}};
  for (const SourceLoss& source : sources) entry["valid_loss_by_source"][source.name] = Number(source.loss);
  WriteLine(entry.dump());
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
  std::string line = absl::StrFormat("step %d/%d  loss %.4f  lr %.2e  |g| %.3f  %.1fk tok/s  MFU %.0f %%  %s left",
                                     m.step, steps, std::isnan(m.loss) ? std::abs(m.loss) : m.loss, m.lr, m.grad_norm,
                                     m.tokens_per_s / 1000, 100 * m.mfu, HumanDuration(seconds_left));
  if (!m.skipped.empty()) absl::StrAppend(&line, "  SKIPPED: ", m.skipped);
  return line;
}

std::string ValidationLine(int64_t step, double loss, int64_t tokens, double unigram_entropy) {
  std::string line = absl::StrFormat("step %d  validation loss %.4f nats per token over %d tokens", step, loss, tokens);
  if (unigram_entropy > 0) {  // tokens of one kind alone have none
    const double part = 1 - loss / unigram_entropy;
    absl::StrAppendFormat(&line, "; %.0f %% %s their unigram entropy %.4f", 100 * std::abs(part),
                          part < 0 ? "above" : "under", unigram_entropy);
  }
  return line;
}

}  // namespace photon
