#include "data/open.h"

#include <algorithm>
#include <filesystem>
#include <optional>

#include "absl/strings/str_cat.h"
#include "core/file.h"
#include "data/token_file_info.h"

namespace photon {
namespace {

// A tokenizer file, where the config names one or `prepare` left one.
absl::StatusOr<std::shared_ptr<const Tokenizer>> FindTokenizer(const DataConfig& config) {
  if (config.has_tokenizer()) return Tokenizer::FromFile(config.tokenizer());
  const std::string beside = config.train() + ".tokenizer.model";
  std::error_code error;
  const bool exists = std::filesystem::exists(beside, error);
  if (error) return FileError(error.value(), "tokenizer", beside);
  if (!exists) return nullptr;
  return Tokenizer::FromFile(beside);
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


}  // namespace

absl::StatusOr<OpenedData> OpenData(const DataConfig& config, int64_t vocab_size, int64_t default_align) {
  if (config.train().empty())
    return absl::InvalidArgumentError("data.train is unset: the PREFIX that `photon prepare` wrote");
  OpenedData data;
  PHOTON_ASSIGN_OR_RETURN(data.tokenizer, FindTokenizer(config));
  if (data.tokenizer != nullptr && data.tokenizer->vocab_size() > vocab_size) {
    return absl::InvalidArgumentError(absl::StrCat("the tokenizer has ", data.tokenizer->vocab_size(),
                                                   " pieces, but model.vocab_size is ", vocab_size,
                                                   ": set it to that"));
  }
  PHOTON_ASSIGN_OR_RETURN(const OpenedFile file, OpenFile(config.train(), data.tokenizer.get(), vocab_size));
  const std::shared_ptr<const TokenFile> train = file.tokens;
  const DatasetOptions options{.sequence_length = config.sequence_length(),
                               .align = config.has_align() ? config.align() : default_align,
                               .document_mask = config.document_mask(),
                               .seed = config.seed(),
                               .vocab_size = vocab_size,
                               .padding = PaddingId(data.tokenizer.get(), file.info)};
  DocumentSplit split{.train = {0, train->documents()}, .valid = {}};
  std::shared_ptr<const TokenFile> valid = train;
  if (config.has_valid()) {
    PHOTON_ASSIGN_OR_RETURN(const OpenedFile other, OpenFile(config.valid(), data.tokenizer.get(), vocab_size));
    valid = other.tokens;
    split.valid = {0, valid->documents()};
  } else if (config.valid_fraction() != 0) {
    PHOTON_ASSIGN_OR_RETURN(split, SplitDocuments(*train, config.valid_fraction()));
  }
  PHOTON_ASSIGN_OR_RETURN(data.train, Dataset::Create(train, split.train, options));
  if (split.valid.end > 0) {
    PHOTON_ASSIGN_OR_RETURN(data.valid, Dataset::Create(valid, split.valid, options));
  }
  return data;
}

}  // namespace photon
