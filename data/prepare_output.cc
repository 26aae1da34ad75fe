#include "data/prepare_output.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "data/utf8.h"

namespace photon {
namespace {

// A file of its own needs open files and counts; names without number come from a wrong --source-key.
constexpr size_t kMostFiles = 200;
constexpr size_t kMostSources = 10000;

absl::Status TooManySources(size_t most, absl::string_view source) {
  constexpr size_t kShown = 60;  // a key that names a document may hold all of it
  absl::string_view shown = source.substr(0, std::min(source.find('\n'), kShown));
  shown = shown.substr(0, FirstInvalidUtf8(shown));
  return absl::InvalidArgumentError(absl::StrCat("more than ", most, " different sources, the last \"", shown,
                                                 shown.size() < source.size() ? ".." : "",
                                                 "\": is --source-key the name of a set, and not of a document? "
                                                 "With another, start over with --fresh"));
}

// Lower case, digits, and single hyphens for the rest: "Pile-CC" is pile-cc, "Wikipedia (en)" wikipedia-en.
std::string Slug(const std::string& source) {
  constexpr size_t kLongest = 60;
  std::string slug;
  for (const char c : source.substr(0, kLongest)) {
    if (absl::ascii_isalnum(c)) {
      slug += absl::ascii_tolower(c);
    } else if (!slug.empty() && slug.back() != '-') {
      slug += '-';
    }
  }
  while (!slug.empty() && slug.back() == '-') slug.pop_back();
  return slug.empty() ? "source" : slug;
}

}  // namespace

std::string OutputPrefix(const std::string& prefix, const std::string& name) {
  return name.empty() ? prefix : absl::StrCat(prefix, ".", name);
}

std::string PartialPrefix(const std::string& folder, const std::string& name) {
  return absl::StrCat(folder, "/tokens", name.empty() ? "" : ".", name);
}

absl::StatusOr<PrepareOutput> PrepareOutput::Open(const std::string& folder, std::shared_ptr<const Tokenizer> tokenizer,
                                                  PrepareState state) {
  PHOTON_ASSIGN_OR_RETURN(OutputFile rejects, OutputFile::Resume(folder + "/rejects.jsonl", state.rejects_bytes));
  const int64_t hash_bytes = state.hashes * static_cast<int64_t>(sizeof(TextHash));
  PHOTON_ASSIGN_OR_RETURN(OutputFile hashes, OutputFile::Resume(folder + "/hashes", hash_bytes));
  std::vector<PrepareState::Output> outputs = std::exchange(state.outputs, {});
  PrepareOutput output(folder, std::move(tokenizer), std::move(state), std::move(rejects), std::move(hashes));
  PHOTON_RETURN_IF_ERROR(output.ReadHashes());
  for (PrepareState::Output& file : outputs) PHOTON_RETURN_IF_ERROR(output.OpenFile(std::move(file)));
  if (output.state_.call.split_by_source) {
    for (const auto& [source, count] : output.state_.sources) {
      const auto found = std::find_if(output.files_.begin(), output.files_.end(),
                                      [&count = count](const auto& file) { return file->name == count.prefix; });
      if (found == output.files_.end()) return absl::DataLossError(absl::StrCat(folder, ": no file of ", source));
      output.file_of_[source] = found->get();
    }
  } else if (output.files_.empty()) {
    PHOTON_RETURN_IF_ERROR(output.OpenFile({}));
  }
  return output;
}

absl::Status PrepareOutput::ReadHashes() {
  seen_.reserve(state_.hashes);
  return hashes_.ForEachPiece([&](absl::string_view piece) {
    TextHash hash;
    for (size_t i = 0; i < piece.size(); i += sizeof hash) {  // pieces hold whole ones
      std::memcpy(&hash, piece.data() + i, sizeof hash);
      seen_.insert(hash);
    }
    return absl::OkStatus();
  });
}

absl::Status PrepareOutput::OpenFile(PrepareState::Output output) {
  PHOTON_ASSIGN_OR_RETURN(TokenFileWriter writer, TokenFileWriter::Resume(PartialPrefix(folder_, output.name),
                                                                          tokenizer_->vocab_size(), output.position));
  files_.push_back(std::make_unique<File>(File{.name = output.name,
                                               .writer = std::move(writer),
                                               .count = output.count,
                                               .unigrams = UnigramCounts(std::move(output.unigrams))}));
  return absl::OkStatus();
}

absl::Status PrepareOutput::Add(const EncodedBlock& block, const std::string& path) {
  absl::Span<const int32_t> ids = block.ids;
  for (const EncodedPart& part : block.parts) {
    const bool nameless = part.source.empty() && state_.call.split_by_source;  // its file needs a name
    PHOTON_RETURN_IF_ERROR(AddPart(part, nameless ? kNoSource : part.source, ids.subspan(0, part.ids)));
    ids.remove_prefix(part.ids);
  }
  for (const BadLine& line : block.bad) PHOTON_RETURN_IF_ERROR(AddBadLine(line, path));
  state_.position = block.end;
  state_.consumed = block.consumed;
  state_.lines += block.end.lines - block.begin.lines;
  return block.status;
}

absl::Status PrepareOutput::AddPart(const EncodedPart& part, const std::string& source, absl::Span<const int32_t> ids) {
  if (state_.call.drop_duplicates) {  // then every part is a whole document
    PHOTON_ASSIGN_OR_RETURN(const bool seen, SeenBefore(part.hash));
    if (seen) return absl::OkStatus();
  }
  PHOTON_ASSIGN_OR_RETURN(File * file, FileOf(source));
  PHOTON_RETURN_IF_ERROR(file->writer.Append(ids));
  if (part.ends) PHOTON_RETURN_IF_ERROR(file->writer.EndDocument());
  file->unigrams.Add(part.begins ? ids.subspan(1) : ids);  // begin-of-text is never scored
  for (SourceCount* count : {&file->count, &state_.sources[source]}) {
    count->documents += part.ends;
    count->tokens += static_cast<int64_t>(ids.size());
    count->bytes += part.text_bytes;
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> PrepareOutput::SeenBefore(const TextHash& hash) {
  if (!seen_.insert(hash).second) {
    ++state_.duplicates;
    return true;
  }
  ++state_.hashes;
  PHOTON_RETURN_IF_ERROR(hashes_.Write({reinterpret_cast<const char*>(hash.data()), sizeof hash}));
  return false;
}

absl::StatusOr<PrepareOutput::File*> PrepareOutput::FileOf(const std::string& source) {
  if (state_.sources.size() >= kMostSources && !state_.sources.contains(source)) {
    return TooManySources(kMostSources, source);
  }
  if (!state_.call.split_by_source) return files_.front().get();
  File*& file = file_of_[source];
  if (file == nullptr) {
    if (files_.size() == kMostFiles) return TooManySources(kMostFiles, source);
    const std::string name = FreeName(source);
    PHOTON_RETURN_IF_ERROR(OpenFile({.name = name}));
    state_.sources[source].prefix = name;
    file = files_.back().get();
  }
  return file;
}

// Two sources may have one slug. The later one gets a number, as does one whose files would look like those of PREFIX
// itself: PREFIX.tokenizer.json is the tokenizer.
std::string PrepareOutput::FreeName(const std::string& source) const {
  const std::string slug = Slug(source);
  std::string name = slug;
  const auto taken = [&] {
    return name == "tokenizer" || name == "rejects" || name == "partial" ||
           std::any_of(files_.begin(), files_.end(), [&](const auto& file) { return file->name == name; });
  };
  for (int i = 2; taken(); ++i) name = absl::StrCat(slug, "-", i);
  return name;
}

absl::Status PrepareOutput::AddBadLine(const BadLine& line, const std::string& path) {
  ++(line.replaced ? state_.replaced_lines : state_.skipped_lines);
  const nlohmann::ordered_json json = {{"file", path},
                                       {"line", line.line},
                                       {"problem", line.problem},
                                       {"done", line.replaced ? "replaced" : "skipped"},
                                       {"begins", line.excerpt}};
  const std::string text = json.dump(-1, ' ', /*ensure_ascii=*/false, nlohmann::json::error_handler_t::replace) + "\n";
  state_.rejects_bytes += static_cast<int64_t>(text.size());
  return rejects_.Write(text);
}

absl::Status PrepareOutput::Sync() {
  for (const auto& file : files_) PHOTON_RETURN_IF_ERROR(file->writer.Sync());
  PHOTON_RETURN_IF_ERROR(rejects_.Sync());
  return hashes_.Sync();
}

PrepareState PrepareOutput::State() const {
  PrepareState state = state_;
  for (const auto& file : files_) {
    state.outputs.push_back({.name = file->name,
                             .position = file->writer.position(),
                             .count = file->count,
                             .unigrams = file->unigrams.counts()});
  }
  return state;
}

absl::Status PrepareOutput::Finish(const std::string& prefix) {
  for (const auto& file : files_) {
    PHOTON_RETURN_IF_ERROR(file->writer.Finish());
    const TokenFileInfo info = file->name.empty() ? Info(prefix) : InfoOf(file->count, file->unigrams);
    PHOTON_RETURN_IF_ERROR(WriteFile(PartialPrefix(folder_, file->name) + ".json", info.ToJson()));
  }
  if (!state_.call.split_by_source) return absl::OkStatus();
  return WriteFile(PartialPrefix(folder_, "") + ".json", Info(prefix).ToJson());
}

TokenFileInfo PrepareOutput::InfoOf(const SourceCount& count, const UnigramCounts& unigrams) const {
  return {.tokens = count.tokens,
          .documents = count.documents,
          .text_bytes = count.bytes,
          .max_id = std::max<int64_t>(unigrams.max_id(), tokenizer_->bos()),
          .vocab_size = tokenizer_->vocab_size(),
          .bos = tokenizer_->bos(),
          .eos = tokenizer_->eos(),
          .tokenizer_hash = tokenizer_->hash(),
          .unigram_entropy = unigrams.Entropy(),
          .sources = {}};
}

double PrepareOutput::skipped_share() const {
  return static_cast<double>(state_.skipped_lines) / static_cast<double>(std::max<int64_t>(state_.lines, 1));
}

TokenFileInfo PrepareOutput::Info(const std::string& prefix) const {
  SourceCount total;
  UnigramCounts unigrams;
  for (const auto& file : files_) {
    total.documents += file->count.documents;
    total.tokens += file->count.tokens;
    total.bytes += file->count.bytes;
    unigrams.Add(file->unigrams);
  }
  TokenFileInfo info = InfoOf(total, unigrams);
  info.duplicates = state_.duplicates;
  info.skipped_lines = state_.skipped_lines;
  info.replaced_lines = state_.replaced_lines;
  info.call = TextOf(state_.call);
  const bool named = state_.sources.size() > 1 || (state_.sources.size() == 1 && !state_.sources.contains(""));
  if (!named && !state_.call.split_by_source) return info;
  const std::string base = std::filesystem::path(prefix).filename().string();
  for (const auto& [source, count] : state_.sources) {
    SourceCount& to = info.sources[source.empty() ? kNoSource : source];
    to.documents += count.documents;  // +=: a source may be called as those without one are
    to.tokens += count.tokens;
    to.bytes += count.bytes;
    if (state_.call.split_by_source) to.prefix = OutputPrefix(base, count.prefix);
  }
  return info;
}

}  // namespace photon
