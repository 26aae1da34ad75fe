#include "data/prepare_state.h"

#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "core/file.h"

namespace photon {

// For nlohmann, which finds them by their names.
NLOHMANN_JSON_SERIALIZE_ENUM(OnError,
                             {{OnError::kFail, "fail"}, {OnError::kSkip, "skip"}, {OnError::kReplace, "replace"}})
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(InputFile, path, bytes, modified_ns)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(BlockPosition, file, offset, lines, continues)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(SourceCount, documents, tokens, bytes, prefix)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(TokenFileWriter::Position, tokens, sequences, sequence_tokens, documents)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(PrepareCall, inputs, tokenizer, tokenizer_file, separator, text_key, source_key,
                                   drop_duplicates, split_by_source, on_error)

namespace {

constexpr int kVersion = 3;

// What users and file systems name may hold any bytes; JSON may not.
template <typename F>
absl::Status ForEachName(PrepareCall& call, F&& f) {
  for (InputFile& input : call.inputs) PHOTON_RETURN_IF_ERROR(f(input.path));
  for (std::string* name : {&call.tokenizer_file, &call.separator, &call.text_key, &call.source_key})
    PHOTON_RETURN_IF_ERROR(f(*name));
  return absl::OkStatus();
}

absl::Status Unreadable(const std::string& path, absl::string_view problem) {
  return absl::DataLossError(
      absl::StrCat("the progress in ", path, " cannot be read (", problem, "): start over with --fresh"));
}

nlohmann::json JsonOf(PrepareCall call) {
  ForEachName(call, [](std::string& name) {
    name = absl::CEscape(name);
    return absl::OkStatus();
  }).IgnoreError();
  return call;
}

// nlohmann's exceptions go by.
absl::StatusOr<PrepareCall> CallOf(const nlohmann::json& json, const std::string& path) {
  PrepareCall call = json.get<PrepareCall>();
  PHOTON_RETURN_IF_ERROR(ForEachName(call, [&](std::string& name) {
    std::string raw;
    if (!absl::CUnescape(name, &raw)) return Unreadable(path, "a damaged name");
    name = std::move(raw);
    return absl::OkStatus();
  }));
  return call;
}

absl::Status OtherCall(absl::string_view problem) {
  return absl::FailedPreconditionError(
      absl::StrCat("an unfinished call with the same --out differs from this one: ", problem,
                   ". Repeat that call to finish it, or start over with --fresh"));
}

// "1 -> 2" for the first option that differs; empty where none does.
std::string DifferentOption(const PrepareCall& before, const PrepareCall& now) {
  const auto differs = [](absl::string_view name, absl::string_view a, absl::string_view b) {
    return absl::StrCat(name, " was \"", a, "\" and is \"", b, "\"");
  };
  const auto yes = [](bool value) { return value ? "given" : "not given"; };
  if (before.tokenizer != now.tokenizer) {
    const auto name = [](const PrepareCall& call) {
      return call.tokenizer_file.empty() ? call.tokenizer
                                         : absl::StrCat(call.tokenizer_file, " (", call.tokenizer, ")");
    };
    return differs("the tokenizer", name(before), name(now));
  }
  if (before.separator != now.separator) return differs("--document-separator", before.separator, now.separator);
  if (before.text_key != now.text_key) return differs("--text-key", before.text_key, now.text_key);
  if (before.source_key != now.source_key) return differs("--source-key", before.source_key, now.source_key);
  if (before.drop_duplicates != now.drop_duplicates) {
    return differs("--drop-duplicates", yes(before.drop_duplicates), yes(now.drop_duplicates));
  }
  if (before.split_by_source != now.split_by_source) {
    return differs("--split-by-source", yes(before.split_by_source), yes(now.split_by_source));
  }
  return "";
}

std::string DifferentInput(const std::vector<InputFile>& before, const std::vector<InputFile>& now) {
  for (size_t i = 0; i < std::min(before.size(), now.size()); ++i) {
    if (before[i].path != now[i].path) {
      return absl::StrCat("input ", i + 1, " was ", before[i].path, " and is ", now[i].path);
    }
    if (!(before[i] == now[i])) {
      return absl::StrCat("input ", now[i].path, " has changed since (it has ", now[i].bytes, " bytes, and had ",
                          before[i].bytes, ")");
    }
  }
  return before.size() == now.size() ? "" : absl::StrCat("it had ", before.size(), " inputs, now ", now.size());
}

}  // namespace

absl::Status SavePrepareState(const std::string& path, const PrepareState& state) {
  nlohmann::json json = {{"version", kVersion},
                         {"call", JsonOf(state.call)},
                         {"complete", state.complete},
                         {"position", state.position},
                         {"consumed", state.consumed},
                         {"sources", state.sources},
                         {"hashes", state.hashes},
                         {"rejects_bytes", state.rejects_bytes},
                         {"duplicates", state.duplicates},
                         {"lines", state.lines},
                         {"skipped_lines", state.skipped_lines},
                         {"replaced_lines", state.replaced_lines},
                         {"outputs", nlohmann::json::array()}};
  for (const PrepareState::Output& output : state.outputs) {
    json["outputs"].push_back({{"name", output.name},
                               {"position", output.position},
                               {"count", output.count},
                               {"unigrams", output.unigrams.size()}});
  }
  PHOTON_ASSIGN_OR_RETURN(OutputFile file, OutputFile::Create(path));
  PHOTON_RETURN_IF_ERROR(file.Write(json.dump() + "\n"));
  for (const PrepareState::Output& output : state.outputs) {
    const std::vector<int64_t>& counts = output.unigrams;
    PHOTON_RETURN_IF_ERROR(file.Write({reinterpret_cast<const char*>(counts.data()), counts.size() * sizeof(int64_t)}));
  }
  return file.Publish();
}

absl::StatusOr<PrepareState> LoadPrepareState(const std::string& path) {
  PHOTON_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path));
  PrepareState state;
  size_t at = bytes.find('\n');
  if (at == std::string::npos) return Unreadable(path, "truncated");
  try {
    const nlohmann::json json = nlohmann::json::parse(bytes.begin(), bytes.begin() + at);
    ++at;
    if (json.at("version") != kVersion) return Unreadable(path, "of another version of this program");
    PHOTON_ASSIGN_OR_RETURN(state.call, CallOf(json.at("call"), path));
    json.at("complete").get_to(state.complete);
    json.at("position").get_to(state.position);
    json.at("consumed").get_to(state.consumed);
    json.at("sources").get_to(state.sources);
    json.at("hashes").get_to(state.hashes);
    json.at("rejects_bytes").get_to(state.rejects_bytes);
    json.at("duplicates").get_to(state.duplicates);
    json.at("lines").get_to(state.lines);
    json.at("skipped_lines").get_to(state.skipped_lines);
    json.at("replaced_lines").get_to(state.replaced_lines);
    for (const nlohmann::json& item : json.at("outputs")) {
      PrepareState::Output output{
          .name = item.at("name"), .position = item.at("position"), .count = item.at("count"), .unigrams = {}};
      const size_t count = item.at("unigrams");
      if (count > (bytes.size() - at) / sizeof(int64_t)) return Unreadable(path, "truncated");
      output.unigrams.resize(count);
      std::memcpy(output.unigrams.data(), bytes.data() + at, count * sizeof(int64_t));
      at += count * sizeof(int64_t);
      state.outputs.push_back(std::move(output));
    }
  } catch (const nlohmann::json::exception& error) {
    return Unreadable(path, error.what());
  }
  return state;
}

std::string TextOf(const PrepareCall& call) { return JsonOf(call).dump(); }

absl::StatusOr<PrepareCall> CallOfText(const std::string& text, const std::string& path) {
  try {
    return CallOf(nlohmann::json::parse(text), path);
  } catch (const nlohmann::json::exception& error) {
    return Unreadable(path, error.what());
  }
}

std::string DifferenceOf(const PrepareCall& before, const PrepareCall& now, bool bad_lines) {
  if (std::string input = DifferentInput(before.inputs, now.inputs); !input.empty()) return input;
  if (std::string option = DifferentOption(before, now); !option.empty()) return option;
  return bad_lines && before.on_error != now.on_error ? "--on-error was another, and there were bad lines already" : "";
}

absl::Status CheckSameCall(const PrepareState& state, const PrepareCall& call) {
  const std::string difference = DifferenceOf(state.call, call, state.skipped_lines + state.replaced_lines > 0);
  return difference.empty() ? absl::OkStatus() : OtherCall(difference);
}

}  // namespace photon
