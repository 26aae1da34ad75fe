#include "data/prepare.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <filesystem>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/file.h"
#include "data/corpus.h"
#include "data/progress.h"
#include "data/token_file_writer.h"
#include "data/tokenizer.h"
#include "data/train_tokenizer.h"
#include "data/unigram.h"

namespace photon {
namespace {

constexpr int64_t kPartBytes = 256 << 10;  // long documents are shared out in parts of this size
constexpr int64_t kWindowBytes = 8 << 20;  // text in memory at once: a second or so of work

absl::StatusOr<std::shared_ptr<const Tokenizer>> GetTokenizer(const PrepareOptions& options) {
  std::string name = options.tokenizer;
  std::shared_ptr<const Tokenizer> tokenizer;
  if (options.train_tokenizer > 0) {
    std::error_code error;
    const bool exists = std::filesystem::exists(name, error);
    if (error) return FileError(error.value(), "tokenizer", name);
    if (exists) {
      return absl::AlreadyExistsError(
          absl::StrCat("tokenizer ", name, " exists: leave out --train-tokenizer to use it, or name another file"));
    }
    const CorpusOptions corpus{
        .files = options.inputs, .separator = options.document_separator, .part_bytes = kPartBytes};
    PHOTON_ASSIGN_OR_RETURN(std::string bytes, TrainTokenizer(corpus, options.train_tokenizer));
    PHOTON_ASSIGN_OR_RETURN(tokenizer, Tokenizer::FromBytes(std::move(bytes), "trained here"));
  } else if (name.empty()) {
    return absl::InvalidArgumentError("no tokenizer: give --tokenizer FILE, or --train-tokenizer N to make one");
  } else {
    PHOTON_ASSIGN_OR_RETURN(tokenizer, Tokenizer::FromFile(name));
  }
  if (tokenizer->bos() < 0) {
    return absl::InvalidArgumentError(absl::StrCat("tokenizer ", name,
                                                   " has neither a begin- nor an end-of-text piece, ",
                                                   "which must part documents: train one that has"));
  }
  return tokenizer;
}

// Encodes parts side by side. Which thread takes which part is chance; the result is not.
std::vector<std::vector<int32_t>> EncodeAll(const Tokenizer& tokenizer, const std::vector<TextPart>& parts,
                                            int threads) {
  std::vector<std::vector<int32_t>> ids(parts.size());
  std::atomic<size_t> next = 0;
  std::mutex mutex;
  std::exception_ptr failure;  // the first of any thread, thrown again by this one
  const auto work = [&] {
    try {
      for (size_t i = next++; i < parts.size(); i = next++) {
        ids[i] = parts[i].begins ? tokenizer.Encode(parts[i].text) : tokenizer.EncodeRest(parts[i].text);
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (failure == nullptr) failure = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> helpers;
    for (size_t i = 1; i < std::min<size_t>(threads, parts.size()); ++i) helpers.emplace_back(work);
    work();
  }
  if (failure != nullptr) std::rethrow_exception(failure);
  return ids;
}

// Writes documents and counts what goes by.
class Documents {
 public:
  Documents(TokenFileWriter writer, const Tokenizer& tokenizer) : writer_(std::move(writer)), tokenizer_(tokenizer) {}

  absl::Status Add(const TextPart& part, const std::vector<int32_t>& ids) {
    const int32_t bos = tokenizer_.bos(), eos = tokenizer_.eos();
    const int64_t before = writer_.tokens();
    text_bytes_ += static_cast<int64_t>(part.text.size());
    if (part.begins) PHOTON_RETURN_IF_ERROR(writer_.Append({&bos, 1}));
    PHOTON_RETURN_IF_ERROR(writer_.Append(ids));
    counts_.Add(ids);
    if (part.ends) {
      PHOTON_RETURN_IF_ERROR(writer_.Append({&eos, 1}));
      counts_.Add({&eos, 1});
      PHOTON_RETURN_IF_ERROR(writer_.EndDocument());
    }
    if (!part.source.empty()) {
      SourceCount& source = sources_[part.source];
      source.documents += part.ends;
      source.tokens += writer_.tokens() - before;
    }
    return absl::OkStatus();
  }

  TokenFileInfo Info() const {
    return {.tokens = writer_.tokens(),
            .documents = writer_.documents(),
            .text_bytes = text_bytes_,
            .max_id = std::max<int64_t>(counts_.max_id(), tokenizer_.bos()),
            .vocab_size = tokenizer_.vocab_size(),
            .bos = tokenizer_.bos(),
            .eos = tokenizer_.eos(),
            .tokenizer_hash = tokenizer_.hash(),
            .unigram_entropy = counts_.Entropy(),
            .sources = sources_};
  }

  TokenFileWriter& writer() { return writer_; }

 private:
  TokenFileWriter writer_;
  const Tokenizer& tokenizer_;
  UnigramCounts counts_;
  int64_t text_bytes_ = 0;
  std::map<std::string, SourceCount> sources_;
};

absl::Status EncodeCorpus(const PrepareOptions& options, const Tokenizer& tokenizer, Documents* documents) {
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  const int threads = options.threads > 0 ? std::min(options.threads, 4 * cores) : cores;  // more only cost memory
  PHOTON_ASSIGN_OR_RETURN(CorpusReader reader,
                          CorpusReader::Create({.files = options.inputs,
                                                .separator = options.document_separator,
                                                .part_bytes = tokenizer.splits_at_newlines() ? kPartBytes : 0}));
  ProgressLine progress("tokenising", options.progress);
  for (bool more = true; more;) {
    std::vector<TextPart> parts;
    for (int64_t bytes = 0; more && bytes < kWindowBytes;) {
      TextPart part;
      PHOTON_ASSIGN_OR_RETURN(more, reader.Next(&part));
      if (!more) break;
      bytes += static_cast<int64_t>(part.text.size() + sizeof part);
      parts.push_back(std::move(part));
    }
    const auto ids = EncodeAll(tokenizer, parts, threads);
    for (size_t i = 0; i < parts.size(); ++i) PHOTON_RETURN_IF_ERROR(documents->Add(parts[i], ids[i]));
    progress.Update(reader.bytes_read(), reader.total_bytes());
  }
  return absl::OkStatus();
}

absl::StatusOr<OutputFile> WriteBytes(const std::string& path, absl::string_view bytes) {
  PHOTON_ASSIGN_OR_RETURN(OutputFile file, OutputFile::Create(path));
  PHOTON_RETURN_IF_ERROR(file.Write(bytes));
  PHOTON_RETURN_IF_ERROR(file.Sync());
  return file;
}

}  // namespace

absl::StatusOr<TokenFileInfo> Prepare(const PrepareOptions& options) {
  if (options.out.empty()) return absl::InvalidArgumentError("no output: give --out PREFIX");
  // Missing inputs are found before a tokenizer is trained for a minute.
  PHOTON_RETURN_IF_ERROR(CorpusReader::Create({.files = options.inputs, .separator = "", .part_bytes = 0}).status());
  PHOTON_ASSIGN_OR_RETURN(const std::shared_ptr<const Tokenizer> tokenizer, GetTokenizer(options));
  PHOTON_ASSIGN_OR_RETURN(TokenFileWriter writer, TokenFileWriter::Create(options.out, tokenizer->vocab_size()));
  Documents documents(std::move(writer), *tokenizer);
  PHOTON_RETURN_IF_ERROR(EncodeCorpus(options, *tokenizer, &documents));
  const TokenFileInfo info = documents.Info();
  if (info.documents == 0) {
    return absl::InvalidArgumentError(absl::StrCat("the input holds no text: ", options.inputs.front(),
                                                   options.inputs.size() > 1 ? " and the others are" : " is",
                                                   " empty"));
  }
  PHOTON_RETURN_IF_ERROR(documents.writer().Finish());
  PHOTON_ASSIGN_OR_RETURN(OutputFile json, WriteBytes(options.out + ".json", info.ToJson()));
  PHOTON_ASSIGN_OR_RETURN(OutputFile model, WriteBytes(options.out + ".tokenizer.model", tokenizer->bytes()));
  // From here on only renames. The old index goes first: nothing reads the set until the new one is complete.
  PHOTON_RETURN_IF_ERROR(RemoveFile(options.out + ".idx"));
  if (options.train_tokenizer > 0 && !options.tokenizer.empty()) {
    PHOTON_RETURN_IF_ERROR(WriteFile(options.tokenizer, tokenizer->bytes()));
  }
  PHOTON_RETURN_IF_ERROR(model.Publish());
  PHOTON_RETURN_IF_ERROR(json.Publish());
  PHOTON_RETURN_IF_ERROR(documents.writer().Publish());
  return info;
}

}  // namespace photon
