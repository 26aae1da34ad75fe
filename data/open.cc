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

// The file that `prepare` left beside a token file; empty: none.
absl::StatusOr<std::string> TokenizerBeside(const std::string& prefix) {
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
  return found;
}

// A tokenizer file, where the config names one or `prepare` left one.
absl::StatusOr<std::shared_ptr<const Tokenizer>> FindTokenizer(const DataConfig& config, const std::string& prefix) {
  if (config.has_tokenizer()) return Tokenizer::FromFile(config.tokenizer());
  PHOTON_ASSIGN_OR_RETURN(std::string found, TokenizerBeside(prefix));
  if (found.empty()) {
    PHOTON_ASSIGN_OR_RETURN(const std::string set, FindSetOf(prefix));
    if (set.empty()) return nullptr;
    PHOTON_ASSIGN_OR_RETURN(found, TokenizerBeside(set));
  }
  if (found.empty()) return nullptr;
  return Tokenizer::FromFile(found);
}

// The data's own tokenizer, or else that of the model to go on from: what the data were prepared with is checked
// against it like against their own.
absl::StatusOr<std::shared_ptr<const Tokenizer>> ChooseTokenizer(const DataConfig& config, const std::string& prefix,
                                                                 const ModelTokenizer& model) {
  PHOTON_ASSIGN_OR_RETURN(std::shared_ptr<const Tokenizer> own, FindTokenizer(config, prefix));
  if (model.tokenizer == nullptr) return own;
  if (own == nullptr) return model.tokenizer;
  if (own->hash() == model.tokenizer->hash()) return own;
  return absl::FailedPreconditionError(absl::StrCat(
      "the data's tokenizer (", own->hash(), ") is not that of ", model.path, " (", model.tokenizer->hash(),
      "), so the same ids mean other text: prepare the data with --tokenizer ", model.path));
}

// What a run's token files must agree with.
struct Expected {
  const Tokenizer* tokenizer = nullptr;  // null: none is known
  std::string remedy;                    // for a file of another one
  int64_t vocab_size = 0;
};

absl::Status CheckInfo(const std::string& prefix, const TokenFile& file, const TokenFileInfo& info,
                       const Expected& expected) {
  if (info.tokens != file.tokens() || info.documents != file.documents()) {
    return absl::InvalidArgumentError(absl::StrCat("token file ", prefix, ": PREFIX.json speaks of ", info.tokens,
                                                   " tokens, the file holds ", file.tokens(), "; prepare it again"));
  }
  if (expected.tokenizer != nullptr && expected.tokenizer->hash() != info.tokenizer_hash) {
    return absl::InvalidArgumentError(
        absl::StrCat("token file ", prefix, " was prepared with another tokenizer than the run's ", "(hashes ",
                     info.tokenizer_hash, " and ", expected.tokenizer->hash(), "): ", expected.remedy));
  }
  if (info.max_id >= expected.vocab_size) {
    return absl::InvalidArgumentError(absl::StrCat("token file ", prefix, " holds token id ", info.max_id,
                                                   ", but model.vocab_size is ", expected.vocab_size, ": set it to ",
                                                   info.vocab_size,
                                                   ", or prepare with a smaller tokenizer (for a model that is trained "
                                                   "already, with its own)"));
  }
  return absl::OkStatus();
}

struct OpenedFile {
  std::shared_ptr<const TokenFile> tokens;
  std::optional<TokenFileInfo> info;
};

absl::StatusOr<OpenedFile> OpenFile(const std::string& prefix, const Expected& expected) {
  OpenedFile file;
  PHOTON_ASSIGN_OR_RETURN(file.tokens, TokenFile::Open(prefix));
  PHOTON_ASSIGN_OR_RETURN(file.info, TokenFileInfo::Read(prefix));
  if (file.info.has_value()) {
    PHOTON_RETURN_IF_ERROR(CheckInfo(prefix, *file.tokens, *file.info, expected));
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

bool HoldsOut(const DataConfig& config) { return !config.has_valid() && config.valid_fraction() != 0; }

// A source's part of the run: what is trained on and, where the config asks for it, what is held out.
absl::Status AddSource(const DataConfig& config, const TrainingSources& named, size_t index, const OpenedFile& file,
                       const DatasetOptions& options, std::vector<NamedDataset>* train, OpenedData* data) {
  const SourceFile& source = named.files[index];
  DocumentSplit split{.train = {0, file.tokens->documents()}, .valid = {}};
  // Of several sources, one with a single document (a stray one in a large set) is no reason to train on none.
  const bool too_small = named.files.size() > 1 && file.tokens->documents() == 1;
  if (HoldsOut(config) && too_small) {
    data->notes.push_back(absl::StrCat(source.name, " has 1 document: it is trained on, and none is held out of it"));
  } else if (HoldsOut(config)) {
    PHOTON_ASSIGN_OR_RETURN(split, SplitDocuments(*file.tokens, config.valid_fraction()));
  }
  PHOTON_ASSIGN_OR_RETURN(std::shared_ptr<const Dataset> trained, Dataset::Create(file.tokens, split.train, options));
  train->push_back({source.name, std::move(trained)});
  if (split.valid.end == 0) return absl::OkStatus();
  PHOTON_ASSIGN_OR_RETURN(std::shared_ptr<const Dataset> held_out, Dataset::Create(file.tokens, split.valid, options));
  data->valid.push_back({source.name, std::move(held_out), static_cast<int>(train->size()) - 1});
  return absl::OkStatus();
}

absl::Status CheckTokenizer(const Tokenizer* tokenizer, int64_t vocab_size) {
  if (tokenizer == nullptr || tokenizer->vocab_size() <= vocab_size) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the tokenizer has ", tokenizer->vocab_size(),
                                                 " pieces, but model.vocab_size is ", vocab_size,
                                                 ": set it to that; or, where the model is trained already ",
                                                 "(--init-from), prepare the data with its tokenizer"));
}

}  // namespace

absl::StatusOr<OpenedData> OpenData(const DataConfig& config, int64_t vocab_size, int64_t default_align,
                                    const ModelTokenizer& model) {
  PHOTON_ASSIGN_OR_RETURN(const TrainingSources named, FindSources(config));
  OpenedData data;
  const std::string& first = config.train().empty() ? named.files[0].prefix : config.train();
  PHOTON_ASSIGN_OR_RETURN(data.tokenizer, ChooseTokenizer(config, first, model));
  PHOTON_RETURN_IF_ERROR(CheckTokenizer(data.tokenizer.get(), vocab_size));
  const bool models = data.tokenizer != nullptr && data.tokenizer == model.tokenizer;
  const Expected expected{.tokenizer = data.tokenizer.get(),
                          .remedy = models ? absl::StrCat("prepare it with --tokenizer ", model.path)
                                           : "prepare it with the same one, or set data.tokenizer",
                          .vocab_size = vocab_size};
  DatasetOptions options{.sequence_length = config.sequence_length(),
                         .align = config.has_align() ? config.align() : default_align,
                         .document_mask = config.document_mask(),
                         .seed = config.seed(),
                         .vocab_size = vocab_size};
  std::vector<NamedDataset> train;
  for (size_t i = 0; i < named.files.size(); ++i) {
    PHOTON_ASSIGN_OR_RETURN(const OpenedFile file, OpenFile(named.files[i].prefix, expected));
    if (i == 0) options.padding = PaddingId(data.tokenizer.get(), file.info);
    if (i == 0 && data.tokenizer == nullptr && file.info.has_value()) {
      data.notes.push_back(
          absl::StrCat(first, " was prepared with a tokenizer that is not beside it: checkpoints will ",
                       "hold none, and generation takes token ids only; to have it, set data.tokenizer"));
    }
    // Sources of one size would else go through the same order side by side. That of the first is the plain seed's.
    options.seed = i == 0 ? config.seed() : config.seed() ^ StableHash(absl::StrCat("source ", i));
    PHOTON_RETURN_IF_ERROR(AddSource(config, named, i, file, options, &train, &data));
    if (!file.info.has_value() && models) {
      data.notes.push_back(absl::StrCat("nothing tells which tokenizer ", named.files[i].prefix,
                                        " was prepared with: it is taken to be ", model.path));
    }
  }
  if (HoldsOut(config) && data.valid.empty()) {
    return absl::InvalidArgumentError(
        "data: no source has more than 1 document, so none can be held out: set data.valid_fraction=0 (no validation) "
        "or data.valid");
  }
  if (config.has_valid()) {
    PHOTON_ASSIGN_OR_RETURN(const OpenedFile file, OpenFile(config.valid(), expected));
    PHOTON_ASSIGN_OR_RETURN(std::shared_ptr<const Dataset> all,
                            Dataset::Create(file.tokens, {0, file.tokens->documents()}, options));
    data.valid.push_back({config.valid(), std::move(all)});
  }
  PHOTON_ASSIGN_OR_RETURN(std::shared_ptr<const Blend> blend, MakeBlend(train, named.weights, config.seed()));
  data.train = std::make_shared<const TrainingData>(std::move(train), std::move(blend));
  return data;
}

}  // namespace photon
