#include "launch/bench_report.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "inference/json_text.h"
#include "inference/protocol/paper.h"

namespace photon {
namespace {

constexpr double kGiB = 1 << 30;

int PaperColumn(const PaperRow& row) { return row.shape.name == "PF" ? 0 : 1; }

double ShareOfRoofline(const ProtocolRun& run) { return run.counts.seconds / run.seconds; }

// "600m" of "photon-600m-group"; of a checkpoint's path, all of it.
std::string SizeOf(const std::string& model) {
  const size_t begin = model.find('-');
  if (begin == std::string::npos) return model;
  return model.substr(begin + 1, model.find('-', begin + 1) - begin - 1);
}

// What the paper says of the row's model. Null where it is another one: of another size, or measured in another shape.
const PaperFigures* PaperOf(const PaperRow& row) { return row.full_size ? FindInPaper(row.model, row.mode) : nullptr; }

bool IsFlat(const PaperRow& row) { return absl::StartsWith(row.model, "vanilla-"); }

// The flat model of the row's size in its shape; null where there is none.
const PaperRow* FlatRow(const std::vector<PaperRow>& rows, const PaperRow& row) {
  const auto found = std::find_if(rows.begin(), rows.end(), [&](const PaperRow& flat) {
    return IsFlat(flat) && SizeOf(flat.model) == SizeOf(row.model) && flat.shape.name == row.shape.name;
  });
  return found == rows.end() ? nullptr : &*found;
}

void AppendComparison(const PaperRow& row, const ProtocolRun& run, const PaperRow& flat, const ProtocolRun& flat_run,
                      std::string* text) {
  absl::StrAppendFormat(text, "%-20s%-15s%-4s%7d%12d%12.2f x%12.2f x\n", row.model, std::string(Name(row.mode)),
                        row.shape.name, run.batch, flat_run.batch, run.tokens_per_s / flat_run.tokens_per_s,
                        row.result.Tpm(run) / flat.result.Tpm(flat_run));
}

}  // namespace

std::string PaperHeader(const std::string& device, const std::string& dtype, const std::vector<ProtocolShape>& shapes) {
  std::string text = absl::StrCat(device, ", ", dtype, "\n");
  for (const ProtocolShape& shape : shapes) {
    absl::StrAppend(&text, "  ", shape.name, ": ", shape.prompt, " tokens in, ", shape.tokens,
                    " out of each sequence\n");
  }
  absl::StrAppend(
      &text,
      "  GiB/sequence: what one more sequence takes, all told; state: its caches and windows alone\n"
      "  GB/s, TFLOP/s: what memory and products reach here, measured beside each run\n"
      "  roofline: the least time that these allow, in % of the time it took\n"
      "  TPM: thousands of new tokens a second and GiB/sequence\n\n",
      absl::StrFormat("%-20s%-15s%-4s%7s%12s%14s%14s%8s%9s%11s%12s%12s\n", "model", "mode", "", "batch", "tokens/s",
                      "GiB/sequence", "state GiB", "GB/s", "TFLOP/s", "roofline", "TPM", "paper's TPM"));
  return text;
}

std::string DescribeRow(const PaperRow& row) {
  std::string text;
  const PaperFigures* paper = PaperOf(row);
  for (const ProtocolRun& run : row.result.runs) {
    const bool largest = &run == &row.result.runs.back();
    absl::StrAppendFormat(
        &text, "%-20s%-15s%-4s%7d%12.1f%14.5f%14.5f%8.1f%9.2f%9.1f %%%12.2f%12s\n", row.model,
        std::string(Name(row.mode)), row.shape.name, run.batch, run.tokens_per_s, row.result.memory_per_sequence / kGiB,
        static_cast<double>(run.state_bytes) / static_cast<double>(run.batch) / kGiB, run.ceilings.bytes_per_s / 1e9,
        run.ceilings.flops_per_s / 1e12, 100 * ShareOfRoofline(run), row.result.Tpm(run),
        largest && paper != nullptr ? absl::StrFormat("%.2f", paper->tpm[PaperColumn(row)]) : "");
  }
  return text;
}

std::string CompareKinds(const std::vector<PaperRow>& rows) {
  std::string text;
  for (const PaperRow& row : rows) {
    const PaperRow* flat = FlatRow(rows, row);
    if (flat == nullptr || IsFlat(row)) continue;
    for (const ProtocolRun& run : row.result.runs) {
      for (const ProtocolRun& flat_run : flat->result.runs) {
        const bool largest = &run == &row.result.runs.back() && &flat_run == &flat->result.runs.back();
        if (largest || run.batch == flat_run.batch) AppendComparison(row, run, *flat, flat_run, &text);
      }
    }
  }
  if (text.empty()) return text;
  return absl::StrCat(
      "\nOver the flat model of that size, at equal batches and each at its largest:\n",
      absl::StrFormat("%-20s%-15s%-4s%7s%12s%14s%14s\n", "model", "mode", "", "batch", "flat batch", "tokens/s", "TPM"),
      text);
}

std::string ToJson(const std::vector<PaperRow>& rows, const std::string& device, const std::string& dtype,
                   bool complete) {
  using Json = nlohmann::ordered_json;
  Json results = Json::array();
  for (const PaperRow& row : rows) {
    Json runs = Json::array();
    for (const ProtocolRun& run : row.result.runs) {
      runs.push_back({{"batch", run.batch},
                      {"seconds", run.seconds},
                      {"tokens_per_s", run.tokens_per_s},
                      {"peak_bytes", run.peak_bytes},
                      {"state_bytes", run.state_bytes},
                      {"weight_bytes_read", run.counts.weight_bytes},
                      {"cache_bytes_read", run.counts.cache_bytes},
                      {"flops", run.counts.flops},
                      {"read_bytes_per_s", run.ceilings.bytes_per_s},
                      {"flops_per_s", run.ceilings.flops_per_s},
                      {"roofline_seconds", run.counts.seconds},
                      {"share_of_roofline", ShareOfRoofline(run)},
                      {"tpm", row.result.Tpm(run)}});
    }
    Json result = {{"model", row.model},
                   {"mode", std::string(Name(row.mode))},
                   {"shape", row.shape.name},
                   {"prompt", row.shape.prompt},
                   {"tokens", row.shape.tokens},
                   {"parameters", row.parameters},
                   {"bytes_per_sequence", row.result.memory_per_sequence},
                   {"runs", runs}};
    if (const PaperFigures* paper = PaperOf(row)) {
      const int column = PaperColumn(row);
      result["paper"] = {{"tpm", paper->tpm[column]},
                         {"gib_per_sequence", paper->gib[column]},
                         {"ktokens_per_s", paper->throughput[column]}};
    }
    results.push_back(std::move(result));
  }
  return DumpIndented(
      {{"bench", "paper"}, {"device", device}, {"dtype", dtype}, {"complete", complete}, {"results", results}});
}

absl::Status DrawRows(const std::vector<PaperRow>& rows, const WantedPicture& picture) {
  std::string data;
  bool papers = false;
  for (const PaperRow& row : rows) {
    const PaperFigures* paper = PaperOf(row);
    papers = papers || paper != nullptr;
    const std::string name = absl::StrReplaceAll(row.model, {{"\"", "'"}, {"\\", "/"}, {"\n", " "}});  // any path
    absl::StrAppendFormat(&data, "\"%s %s %s\" %g %s\n", name, std::string(Name(row.mode)), row.shape.name,
                          row.result.Tpm(row.result.runs.back()),
                          paper == nullptr ? "NaN" : absl::StrCat(paper->tpm[PaperColumn(row)]));
  }
  return picture.Draw(
      1400, 700,
      absl::StrCat(
          "set logscale y\nset format y '10^{%T}'\nset ylabel 'TPM: thousands of tokens a second and GiB'\n"
          "set style data histograms\nset style histogram clustered gap 1\nset style fill solid 0.8 border -1\n"
          "set xtics rotate by -35 nomirror noenhanced\nset grid ytics\nset key top left\nset bmargin 9\n"
          "set rmargin 8\n$data << EOD\n",
          data, "EOD\nplot $data using 2:xtic(1) title 'here, at the largest batch'",
          papers ? ", '' using 3 title 'the paper, full size, one H200 node'" : "", "\n"));
}

}  // namespace photon
