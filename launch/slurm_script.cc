#include "launch/slurm_script.h"

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "core/check.h"
#include "core/status.h"
#include "launch/slurm_template.h"

namespace photon {
namespace {

absl::Status Refuse(absl::string_view option, absl::string_view value, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(option, " ", value, ": ", why));
}

// One word for the shell, whatever is in it.
std::string Quoted(absl::string_view text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"'", "'\\''"}}), "'");
}

// What goes into a line of #SBATCH or a file's name.
bool IsPlainName(absl::string_view text) {
  for (const char c : text) {
    if (!absl::ascii_isalnum(c) && !absl::StrContains("._-", absl::string_view(&c, 1))) return false;
  }
  return !text.empty() && text[0] != '-';
}

absl::Status Check(const SlurmJob& job) {
  for (const auto& [option, value] : {std::pair<const char*, const std::string&>{"--name", job.name},
                                      {"--partition", job.partition},
                                      {"--account", job.account}}) {
    if (value.empty() && value != job.name) continue;
    if (!IsPlainName(value)) return Refuse(option, value, "letters, digits, '.', '_' and '-' are wanted");
  }
  for (const std::string& option : job.options) {
    if (!absl::StartsWith(option, "--") || absl::StrContains(option, "\n")) {
      return Refuse("--sbatch", option, "an option of sbatch is wanted, as in --sbatch=--qos=high");
    }
  }
  const absl::StatusOr<int64_t> limit = ParseSlurmTime(job.time);
  if (!limit.ok()) return Refuse("--time", job.time, limit.status().message());
  if (*limit <= int64_t{2} * job.save_before_s) {
    return Refuse(
        "--time", job.time,
        absl::StrCat("leaves no time to train: the run saves and stops ", job.save_before_s,
                     " s before the limit, or up to a minute earlier. Ask for more time, or lower --save-before"));
  }
  if (job.gpus_per_node > 0 && job.ranks_per_node > job.gpus_per_node) {
    return Refuse("--ranks-per-node", absl::StrCat(job.ranks_per_node),
                  absl::StrCat("a GPU takes one rank, and --gpus-per-node is ", job.gpus_per_node));
  }
  return absl::OkStatus();
}

// The options that the template's lines give way to.
std::vector<std::string> Options(const SlurmJob& job) {
  std::vector<std::string> options = {absl::StrCat("--job-name=", job.name), absl::StrCat("--nodes=", job.nodes),
                                      absl::StrCat("--ntasks-per-node=", job.ranks_per_node),
                                      absl::StrCat("--time=", job.time),
                                      absl::StrCat("--signal=B:USR2@", job.save_before_s)};
  if (job.nodes > 1) options.push_back("--distribution=block");  // neighbouring ranks share a node
  if (job.cpus_per_rank > 0) options.push_back(absl::StrCat("--cpus-per-task=", job.cpus_per_rank));
  if (job.gpus_per_node > 0) options.push_back(absl::StrCat("--gpus-per-node=", job.gpus_per_node));
  if (!job.partition.empty()) options.push_back(absl::StrCat("--partition=", job.partition));
  if (!job.account.empty()) options.push_back(absl::StrCat("--account=", job.account));
  options.insert(options.end(), job.options.begin(), job.options.end());
  return options;
}

absl::string_view Name(absl::string_view line) { return line.substr(0, line.find('=')); }

}  // namespace

absl::StatusOr<int64_t> ParseSlurmTime(absl::string_view text) {
  const auto bad = absl::InvalidArgumentError("a time is wanted, as in 90 (minutes), 12:00:00 or 2-12:00:00");
  const std::vector<absl::string_view> halves = absl::StrSplit(text, '-');
  if (halves.size() > 2) return bad;
  std::vector<int64_t> numbers;
  for (const absl::string_view part : absl::StrSplit(halves.back(), ':')) {
    int64_t number = 0;
    if (part.empty() || part.size() > 6 || !absl::SimpleAtoi(part, &number) || number < 0) return bad;
    numbers.push_back(number);
  }
  if (numbers.size() > 3) return bad;
  if (halves.size() == 2) {
    int64_t days = 0;
    if (halves[0].size() > 6 || !absl::SimpleAtoi(halves[0], &days) || days < 0) return bad;
    numbers.resize(3);
    return ((days * 24 + numbers[0]) * 60 + numbers[1]) * 60 + numbers[2];
  }
  if (numbers.size() == 1) return numbers[0] * 60;
  if (numbers.size() == 2) return numbers[0] * 60 + numbers[1];
  return (numbers[0] * 60 + numbers[1]) * 60 + numbers[2];
}

absl::StatusOr<std::string> SlurmScript(const SlurmJob& job) {
  PHOTON_RETURN_IF_ERROR(Check(job));
  const std::vector<std::string> options = Options(job);
  const std::string values[][2] = {
      {"photon=", Quoted(job.program)},
      {"run_dir=", Quoted(job.run_dir)},
      {"arguments=", absl::StrCat("(",
                                  absl::StrJoin(job.arguments, " ",
                                                [](std::string* out, const std::string& text) {
                                                  absl::StrAppend(out, Quoted(text));
                                                }),
                                  ")")}};
  constexpr absl::string_view kOption = "#SBATCH ";
  std::string script;
  int lines_of_options = 0, filled = 0;
  for (absl::string_view line : absl::StrSplit(absl::StripSuffix(kSlurmTemplate, "\n"), '\n')) {
    std::string text(line);
    if (absl::StartsWith(line, kOption)) {
      // All of ours stand where the template's first one is; those of its own that we say nothing of stay.
      if (lines_of_options++ == 0) {
        for (const std::string& option : options) absl::StrAppend(&script, kOption, option, "\n");
      }
      bool ours = false;
      for (const std::string& option : options) ours = ours || Name(option) == Name(line.substr(kOption.size()));
      if (ours) continue;
    }
    for (const auto& [name, value] : values) {
      if (!absl::StartsWith(line, name)) continue;
      text = absl::StrCat(name, value);
      ++filled;
    }
    absl::StrAppend(&script, text, "\n");
  }
  PHOTON_CHECK(lines_of_options > 0 && filled == 3) << "launch/slurm/train.sbatch has other lines";
  return script;
}

}  // namespace photon
