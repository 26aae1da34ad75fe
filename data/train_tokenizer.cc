#include "data/train_tokenizer.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/progress.h"
#include "core/random.h"
#include "data/sentencepiece/api.h"
#include "data/utf8.h"

namespace photon {
namespace {

constexpr double kSampleBytes = 10e6;      // more text changes the merges of a few thousand pieces hardly at all
constexpr size_t kLongestSentence = 4096;  // bytes; longer lines are cut at a space

// The lines of the corpus, thinned to the sample.
class Lines {
 public:
  Lines(CorpusReader reader, bool progress)
      : progress_("reading for the tokenizer", progress),
        reader_(std::move(reader)),
        share_(
            std::min(1.0, kSampleBytes / static_cast<double>(std::max<int64_t>(1, reader_.estimated_text_bytes())))) {}

  // False at the end and on errors.
  bool Next(const char** data, size_t* size) {
    while (true) {
      while (at_ >= part_.text.size()) {
        const absl::StatusOr<bool> more = reader_.Next(&part_);
        status_ = more.status();
        progress_.Update(reader_.bytes_read(), reader_.total_bytes());
        if (!more.ok() || !*more) return false;
        at_ = 0;
      }
      const absl::string_view line = TakeLine();
      if (line.empty() || random_.Uniform(lines_++) >= share_) continue;
      *data = line.data();
      *size = line.size();
      return true;
    }
  }

  const absl::Status& status() const { return status_; }

 private:
  absl::string_view TakeLine() {
    const absl::string_view rest = absl::string_view(part_.text).substr(at_);
    size_t end = std::min(rest.find('\n'), rest.size());
    size_t skip = 1;
    if (end > kLongestSentence) {
      const size_t space = rest.substr(0, kLongestSentence).rfind(' ');
      end = space == absl::string_view::npos || space == 0 ? kLongestSentence : space;
      while (end < rest.size() && (static_cast<uint8_t>(rest[end]) & 0xC0) == 0x80) ++end;  // not inside a character
      skip = 0;
    }
    at_ += end + skip;
    return rest.substr(0, end);
  }

  ProgressLine progress_;
  CorpusReader reader_;
  const double share_;
  const Philox random_{StableHash("tokenizer sample"), 0};
  uint64_t lines_ = 0;
  TextPart part_;
  size_t at_ = 0;
  absl::Status status_;
};

// SentencePiece's message begins with a file of its own and the condition that failed, in brackets.
absl::Status TrainingError(int64_t vocab_size, const std::string& error) {
  const size_t bracket = error.rfind("] ");
  const std::string text = bracket == std::string::npos ? error : error.substr(bracket + 2);
  const bool too_few = absl::StrContains(text, "required_chars");
  return absl::InvalidArgumentError(
      absl::StrCat("--train-tokenizer ", vocab_size,
                   too_few ? " is too few pieces for the characters of this text: "
                           : " is more pieces than this text gives: choose fewer, or give more text: ",
                   text));
}

}  // namespace

absl::StatusOr<std::string> TrainTokenizer(const CorpusOptions& corpus, int64_t vocab_size, bool progress) {
  constexpr int64_t kFewest = 256 + 3 + 1;  // bytes, the three control pieces, and a space
  if (vocab_size < kFewest || vocab_size > (int64_t{1} << 24)) {
    return absl::InvalidArgumentError(absl::StrCat("--train-tokenizer ", vocab_size,
                                                   ": choose a number of pieces from ", kFewest, " (bytes alone) on"));
  }
  const char* problem = nullptr;
  const SentencePieceApi* api = LoadSentencePiece(&problem);
  if (api == nullptr) return absl::InternalError(absl::StrCat("cannot load the SentencePiece module: ", problem));
  PHOTON_ASSIGN_OR_RETURN(CorpusReader reader, CorpusReader::Create(corpus));
  Lines lines(std::move(reader), progress);

  const std::string pieces = absl::StrCat(vocab_size), longest = absl::StrCat(2 * kLongestSentence);
  const std::vector<const char*> options = {"model_type",
                                            "bpe",
                                            "vocab_size",
                                            pieces.c_str(),
                                            "byte_fallback",
                                            "true",
                                            "character_coverage",
                                            "0.9995",
                                            "normalization_rule_name",
                                            "identity",
                                            "remove_extra_whitespaces",
                                            "false",
                                            "split_digits",
                                            "true",
                                            "allow_whitespace_only_pieces",
                                            "true",
                                            "unk_id",
                                            "0",
                                            "bos_id",
                                            "1",
                                            "eos_id",
                                            "2",
                                            "pad_id",
                                            "-1",
                                            "num_threads",
                                            "1",  // the same bytes every time
                                            "max_sentence_length",
                                            longest.c_str(),
                                            "minloglevel",
                                            "2"};
  std::string model, error;
  const auto next = [](void* user, const char** data, size_t* size) {
    return static_cast<Lines*>(user)->Next(data, size);
  };
  const bool trained =
      api->train(options.data(), options.size(), next, &lines, AppendBytes, &model, AppendBytes, &error);
  PHOTON_RETURN_IF_ERROR(lines.status());
  if (!trained) return TrainingError(vocab_size, error);
  return model;
}

}  // namespace photon
