#include "data/open.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "core/file.h"
#include "core/random.h"
#include "data/sources.h"
#include "data/token_file_info.h"

namespace photon {
namespace {

// A tokenizer file, where the config names one or `prepare` left one.
absl::StatusOr<std::shared_ptr<const Tokenizer>> FindTokenizer(const DataConfig& config, const std::string& prefix) {
  if (config.has_tokenizer()) return Tokenizer::FromFile(config.tokenizer());
  std::string found;
  for (const char* name : kTokenizerFileNames) {
    const std::string beside = absl::StrCat(prefix, ".", name);
    std::error_code error;
    const bool exists = std::filesystem::exists(beside, error);
    if (error) return FileError(error.value(), "tokenizer", beside);
    if (!exists) continue;
    if (!found.empty()) {
      return absl::InvalidArgumentError(absl::StrCat("there are two tokenizers, ", found, " and ", beside,
                                                     ": remove the wrong one, or set data.tokenizer"));
    }
    found = beside;
  }
  if (found.empty()) return nullptr;
  return Tokenizer::FromFile(found);
}

absl::Status CheckInfo(const std::string& prefix, const TokenFile& file, const TokenFileInfo& info,
                       const Tokenizer* tokenizer, int64_t vocab_size) {
  if (info.tokens != file.tokens() || info.documents != file.documents()) {
    return absl::InvalidArgumentError(absl::StrCat("token file ", prefix, ": PREFIX.json speaks of ", info.tokens,
                                                   " tokens, the file holds ", file.tokens(), "; prepare it again"));
  }
  if (info.max_id >= vocab_size) {
    return absl::InvalidArgumentError(absl::StrCat("token file ", prefix, " holds token id ", info.max_id,
                                                   ", but model.vocab_size is ", vocab_size, ": set it to ",
                                                   info.vocab_size, ", or prepare with a smaller tokenizer"));
  }
  if (tokenizer != nullptr && tokenizer->hash() != info.tokenizer_hash) {
    return absl::InvalidArgumentError(absl::StrCat(
        "token file ", prefix, " was prepared with another tokenizer than the run's ", "(hashes ", info.tokenizer_hash,
        " and ", tokenizer->hash(), "): prepare it with the same one, or set data.tokenizer"));
  }
  return absl::OkStatus();
}

struct OpenedFile {
  std::shared_ptr<const TokenFile> tokens;
  std::optional<TokenFileInfo> info;
};

absl::StatusOr<OpenedFile> OpenFile(const std::string& prefix, const Tokenizer* tokenizer, int64_t vocab_size) {
  OpenedFile file;
  PHOTON_ASSIGN_OR_RETURN(file.tokens, TokenFile::Open(prefix));
  PHOTON_ASSIGN_OR_RETURN(file.info, TokenFileInfo::Read(prefix));
  if (file.info.has_value()) {
    PHOTON_RETURN_IF_ERROR(CheckInfo(prefix, *file.tokens, *file.info, tokenizer, vocab_size));
  }
  return file;
}

// End-of-text: as the tokenizer says, else as the token file's description does. A run that has neither pads with id 0.
int32_t PaddingId(const Tokenizer* tokenizer, const std::optional<TokenFileInfo>& info) {
  if (tokenizer != nullptr && tokenizer->eos() >= 0) return tokenizer->eos();
  return info.has_value() ? std::max(info->eos, 0) : 0;
}

// Shares of whole samples; where no weights are given, as many as each source has, so that their epochs end together.
absl::StatusOr<std::shared_ptr<const Blend>> MakeBlend(const std::vector<NamedDataset>& sources,
                                                       const std::vector<double>& weights, uint64_t seed) {
  std::vector<int64_t> parts;
  if (weights.empty()) {
    int64_t sum = 0;
    for (const NamedDataset& source : sources) sum += source.dataset->samples();
    for (const NamedDataset& source : sources) {
      parts.push_back(std::max(source.dataset->samples(), 2 * sum / Blend::kRarest));
    }
  } else {
    parts = PartsOfWeights(weights);
  }
  absl::StatusOr<std::shared_ptr<const Blend>> blend = Blend::Create(parts, seed);
  if (blend.ok()) return blend;
  std::vector<std::string> names;
  for (const NamedDataset& source : sources) names.push_back(absl::StrCat(names.size(), ": ", source.name));
  return absl::InvalidArgumentError(
      absl::StrCat("data: ", blend.status().message(), " (sources are ", absl::StrJoin(names, ", "), ")"));
}

// A source's part of the run: what is trained on and, where the config asks for it, what is held out.
absl::Status AddSource(const DataConfig& config, const SourceFile& source, const OpenedFile& file,
                       const DatasetOptions& options, std::vector<NamedDataset>* train,
                       std::vector<NamedDataset>* valid) {
  DocumentSplit split{.train = {0, file.tokens->documents()}, .valid = {}};
  if (!config.has_valid() && config.valid_fraction() != 0) {
    PHOTON_ASSIGN_OR_RETURN(split, SplitDocuments(*file.tokens, config.valid_fraction()));
  }
  PHOTON_ASSIGN_OR_RETURN(std::shared_ptr<const Dataset> trained, Dataset::Create(file.tokens, split.train, options));
  train->push_back({source.name, std::move(trained)});
  if (split.valid.end == 0) return absl::OkStatus();
  PHOTON_ASSIGN_OR_RETURN(std::shared_ptr<const Dataset> held_out, Dataset::Create(file.tokens, split.valid, options));
  valid->push_back({source.name, std::move(held_out)});
  return absl::OkStatus();
}

absl::Status CheckTokenizer(const Tokenizer* tokenizer, int64_t vocab_size) {
  if (tokenizer == nullptr || tokenizer->vocab_size() <= vocab_size) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the tokenizer has ", tokenizer->vocab_size(),
                                                 " pieces, but model.vocab_size is ", vocab_size, ": set it to that"));
}

}  // namespace

absl::StatusOr<OpenedData> OpenData(const DataConfig& config, int64_t vocab_size, int64_t default_align) {
  PHOTON_ASSIGN_OR_RETURN(const TrainingSources named, FindSources(config));
  OpenedData data;
  PHOTON_ASSIGN_OR_RETURN(data.tokenizer,
                          FindTokenizer(config, config.train().empty() ? named.files[0].prefix : config.train()));
  PHOTON_RETURN_IF_ERROR(CheckTokenizer(data.tokenizer.get(), vocab_size));
  DatasetOptions options{.sequence_length = config.sequence_length(),
                         .align = config.has_align() ? config.align() : default_align,
                         .document_mask = config.document_mask(),
                         .seed = config.seed(),
                         .vocab_size = vocab_size};
  std::vector<NamedDataset> train;
  for (size_t i = 0; i < named.files.size(); ++i) {
    PHOTON_ASSIGN_OR_RETURN(const OpenedFile file, OpenFile(named.files[i].prefix, data.tokenizer.get(), vocab_size));
    if (i == 0) options.padding = PaddingId(data.tokenizer.get(), file.info);
    // Sources of one size would else go through the same order side by side. That of the first is the plain seed's.
    options.seed = i == 0 ? config.seed() : config.seed() ^ StableHash(absl::StrCat("source ", i));
    PHOTON_RETURN_IF_ERROR(AddSource(config, named.files[i], file, options, &train, &data.valid));
  }
  if (config.has_valid()) {
    PHOTON_ASSIGN_OR_RETURN(const OpenedFile file, OpenFile(config.valid(), data.tokenizer.get(), vocab_size));
    PHOTON_ASSIGN_OR_RETURN(std::shared_ptr<const Dataset> all,
                            Dataset::Create(file.tokens, {0, file.tokens->documents()}, options));
    data.valid.push_back({config.valid(), std::move(all)});
  }
  PHOTON_ASSIGN_OR_RETURN(std::shared_ptr<const Blend> blend, MakeBlend(train, named.weights, config.seed()));
  data.train = std::make_shared<const TrainingData>(std::move(train), std::move(blend));
  return data;
}

}  // namespace photon
