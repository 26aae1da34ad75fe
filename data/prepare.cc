#include "data/prepare.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/file.h"
#include "core/folder.h"
#include "core/human.h"
#include "core/progress.h"
#include "core/time.h"
#include "data/encode_block.h"
#include "data/finished_set.h"
#include "data/ordered_pipeline.h"
#include "data/prepare_output.h"
#include "data/prepare_state.h"
#include "data/publish_prepared.h"
#include "data/tokenizer.h"
#include "data/train_tokenizer.h"

namespace photon {
namespace {

constexpr int64_t kShownBadLines = 10;
constexpr int64_t kJudgedFrom = 100'000;  // lines, the share of bad ones
constexpr char kStartOver[] = "start over with --fresh";

// The folder lacks something: no call can go on from there.
absl::Status Broken(const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(status.message(), ": ", kStartOver));
}

CorpusOptions CorpusOf(const PrepareOptions& options) {
  return {.files = options.inputs,
          .separator = options.document_separator,
          .part_bytes = 256 << 10,
          .cut_allowed = nullptr,
          .text_key = options.text_key,
          .source_key = options.source_key,
          .on_error = options.on_error,
          .hash = options.drop_duplicates};
}

int Threads(const PrepareOptions& options) {
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  return options.threads > 0 ? std::min(options.threads, 4 * cores) : cores;  // more only cost memory
}

// One call of Prepare, with its folder.
class Preparation {
 public:
  Preparation(const PrepareOptions& options, FileSystem& files)
      : options_(options), files_(files), folder_(options.out + ".partial") {}

  absl::StatusOr<TokenFileInfo> Run() {
    PHOTON_ASSIGN_OR_RETURN(call_.inputs, FindInputFiles(options_.inputs));
    if (options_.train_tokenizer == 0) {
      if (options_.tokenizer.empty()) {
        return absl::InvalidArgumentError("no tokenizer: give --tokenizer FILE, or --train-tokenizer N to make one");
      }
      PHOTON_ASSIGN_OR_RETURN(tokenizer_, Tokenizer::FromFile(options_.tokenizer));
      PHOTON_RETURN_IF_ERROR(CheckTokenizer());
    }
    DescribeCall();
    PHOTON_RETURN_IF_ERROR(MakeFolder());
    // Held until the end: a second program with the same PREFIX is refused.
    PHOTON_ASSIGN_OR_RETURN(const OutputFile lock, OutputFile::Create(folder_ + "/lock"));
    const absl::Cleanup tidy = [this] {
      if (!resumable_) RemoveTree(folder_, files_).IgnoreError();
    };
    PHOTON_RETURN_IF_ERROR(FindState());
    if (finished_) return info_;
    const absl::Status done = Work();
    if (done.ok()) return info_;
    return absl::Status(done.code(), absl::StrCat(done.message(), Hint(done)));
  }

 private:
  std::string StatePath() const { return folder_ + "/state"; }

  // Of what use the folder is after a failure; nothing where that one says already that it is of none.
  std::string Hint(const absl::Status& failure) const {
    if (!resumable_ || absl::StrContains(failure.message(), kStartOver)) return "";
    const auto is_pipe = [](const InputFile& input) { return input.is_pipe; };
    if (!state_.complete && std::any_of(call_.inputs.begin(), call_.inputs.end(), is_pipe)) {
      return absl::StrCat(". An input is a pipe, which cannot be read again: ", kStartOver);
    }
    const std::string kept = absl::StrCat(". What was done so far is kept in ", folder_, ": ");
    if (absl::IsInvalidArgument(failure)) {
      return absl::StrCat(kept, "a call that allows for this goes on from there; where an input is mended, ",
                          kStartOver);
    }
    if (!absl::IsDataLoss(failure)) return absl::StrCat(kept, "the same call goes on from there");
    return absl::StrCat(kept, "the same call goes on from there; where an input has to be mended, ", kStartOver);
  }

  void DescribeCall() {
    call_.tokenizer = options_.train_tokenizer > 0 ? absl::StrCat("trained here, ", options_.train_tokenizer, " pieces")
                                                   : tokenizer_->hash();
    call_.tokenizer_file = options_.tokenizer;
    call_.separator = options_.document_separator;
    call_.text_key = options_.text_key;
    call_.source_key = options_.source_key;
    call_.drop_duplicates = options_.drop_duplicates;
    call_.split_by_source = options_.split_by_source;
    call_.on_error = options_.on_error;
  }

  absl::Status MakeFolder() {
    std::error_code error;
    std::filesystem::create_directory(folder_, error);
    return error ? FileError(error.value(), "cannot write", folder_) : absl::OkStatus();
  }

  absl::Status Work() {
    if (!resumable_) PHOTON_RETURN_IF_ERROR(Begin());
    PHOTON_RETURN_IF_ERROR(ReadTokenizer());
    if (!state_.complete) PHOTON_RETURN_IF_ERROR(Tokenise());
    return Publish();
  }

  // What an earlier call left, if it is of use.
  absl::Status FindState() {
    absl::StatusOr<PrepareState> state = absl::NotFoundError("");
    if (!options_.fresh) state = LoadPrepareState(StatePath());
    if (absl::IsNotFound(state.status())) {
      PHOTON_RETURN_IF_ERROR(FindFinished());
      return ClearFolder();
    }
    resumable_ = true;  // also where this call is refused: the folder belongs to another
    if (!state.ok()) return state.status();
    PHOTON_RETURN_IF_ERROR(CheckSameCall(*state, call_));
    state_ = *std::move(state);
    state_.call = call_;
    return CheckPipes();
  }

  // Whether an earlier call has done all this; an error where PREFIX belongs to another.
  absl::Status FindFinished() {
    if (options_.fresh) return absl::OkStatus();
    PHOTON_ASSIGN_OR_RETURN(std::optional<TokenFileInfo> before, FinishedBefore(options_.out, call_));
    if (!before.has_value()) return absl::OkStatus();
    info_ = *std::move(before);
    finished_ = true;
    ProgressLine("prepare", options_.progress, 0)
        .Say(absl::StrCat(options_.out, " is done already, by the same call; --fresh would make it again"));
    return absl::OkStatus();
  }

  // What was read of a pipe cannot be read again, nor can it be told whether it is the same one.
  absl::Status CheckPipes() const {
    for (size_t i = state_.position.file; !state_.complete && i < call_.inputs.size(); ++i) {
      if (!call_.inputs[i].is_pipe) continue;
      return absl::FailedPreconditionError(absl::StrCat(
          "an unfinished call with the same --out stopped before the end of input ", call_.inputs[i].path,
          ", which is a pipe and can be read only once: ", kStartOver, ", or write its text to a file first"));
    }
    return absl::OkStatus();
  }

  absl::Status ClearFolder() {
    PHOTON_RETURN_IF_ERROR(RemoveFile(StatePath()));  // first: without it the rest is nothing
    std::error_code error;
    std::vector<std::string> entries;
    for (std::filesystem::directory_iterator at(folder_, error), end; !error && at != end; at.increment(error)) {
      if (at->path().filename() != "lock.tmp") entries.push_back(at->path().string());
    }
    if (error) return FileError(error.value(), "cannot read", folder_);
    for (const std::string& entry : entries) PHOTON_RETURN_IF_ERROR(RemoveTree(entry));
    return absl::OkStatus();
  }

  absl::Status Begin() {
    state_ = PrepareState();
    state_.call = call_;
    if (options_.train_tokenizer > 0) PHOTON_RETURN_IF_ERROR(Train());
    PHOTON_RETURN_IF_ERROR(WriteFile(folder_ + "/tokenizer", tokenizer_->bytes()));
    if (options_.train_tokenizer == 0) return absl::OkStatus();
    return SaveState(state_);  // training took a while
  }

  absl::Status Train() {
    std::error_code error;
    const std::string& path = options_.tokenizer;
    const bool exists = std::filesystem::exists(path, error);
    if (error) return FileError(error.value(), "tokenizer", path);
    if (exists) {
      return absl::AlreadyExistsError(
          absl::StrCat("tokenizer ", path, " exists: leave out --train-tokenizer to use it, or name another file"));
    }
    for (const InputFile& input : call_.inputs) {
      if (!input.is_pipe) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("input ", input.path,
                       " is a pipe, and --train-tokenizer reads the inputs twice: write its text "
                       "to a file first, or give a tokenizer that exists"));
    }
    PHOTON_ASSIGN_OR_RETURN(std::string bytes,
                            TrainTokenizer(CorpusOf(options_), options_.train_tokenizer, options_.progress));
    PHOTON_ASSIGN_OR_RETURN(tokenizer_, Tokenizer::FromBytes(std::move(bytes), "trained here"));
    return CheckTokenizer();
  }

  // The one that the folder's files are made with; once they are published, it is beside them.
  absl::Status ReadTokenizer() {
    if (tokenizer_ != nullptr) return absl::OkStatus();
    std::vector<std::string> paths = {folder_ + "/tokenizer"};
    for (const char* name : kTokenizerFileNames) paths.push_back(absl::StrCat(options_.out, ".", name));
    for (const std::string& path : paths) {
      absl::StatusOr<std::shared_ptr<const Tokenizer>> tokenizer = Tokenizer::FromFile(path);
      if (absl::IsNotFound(tokenizer.status())) continue;
      if (!tokenizer.ok()) return tokenizer.status();
      tokenizer_ = *std::move(tokenizer);
      return absl::OkStatus();
    }
    return absl::DataLossError(absl::StrCat("the tokenizer in ", folder_, " is gone: ", kStartOver));
  }

  absl::Status CheckTokenizer() const {
    if (tokenizer_->bos() >= 0) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("tokenizer ", options_.tokenizer,
                                                   " has neither a begin- nor an end-of-text piece, which must part "
                                                   "documents: train one that has"));
  }

  absl::Status SaveState(const PrepareState& state) {
    PHOTON_RETURN_IF_ERROR(SavePrepareState(StatePath(), state));
    resumable_ = true;
    return absl::OkStatus();
  }

  absl::Status MakeDurable(PrepareOutput& output) {
    PHOTON_RETURN_IF_ERROR(output.Sync());
    return SaveState(output.State());
  }

  absl::Status Tokenise() {
    absl::StatusOr<PrepareOutput> output = PrepareOutput::Open(folder_, tokenizer_, state_);
    if (absl::IsDataLoss(output.status())) return Broken(output.status());
    PHOTON_RETURN_IF_ERROR(output.status());
    PHOTON_RETURN_IF_ERROR(TokeniseInto(*output));
    return Complete(*output);
  }

  absl::Status Complete(PrepareOutput& output) {
    PHOTON_RETURN_IF_ERROR(CheckResult(output));
    PHOTON_RETURN_IF_ERROR(MakeDurable(output));
    PHOTON_RETURN_IF_ERROR(output.Finish(options_.out));
    state_ = output.State();
    state_.complete = true;
    return SaveState(state_);
  }

  absl::Status TokeniseInto(PrepareOutput& output) {
    CorpusOptions corpus = CorpusOf(options_);
    SetCuts(tokenizer_, &corpus);
    if (options_.drop_duplicates) corpus.part_bytes = 0;  // a hash is of a whole document
    BlockReader reader(call_.inputs, BlockOptionsOf(corpus), state_.position);
    const int threads = Threads(options_);
    std::vector<BlockEncoder> encoders;
    for (int i = 0; i < threads; ++i) encoders.emplace_back(tokenizer_, corpus);
    int64_t total = 0;
    for (const InputFile& file : call_.inputs) total += file.bytes;
    ProgressLine progress("tokenising", options_.progress, state_.consumed);
    if (state_.lines > 0) {
      progress.Say(
          absl::StrCat("Going on after line ", state_.position.lines, " of ", call_.inputs[state_.position.file].path));
    }
    double durable = Now();
    const int64_t budget = std::max<int64_t>(8 << 20, int64_t{threads} << 20);  // of text in memory
    return OrderedPipeline<TextBlock, EncodedBlock>(threads, budget)
        .Run(
            [&]() -> absl::StatusOr<std::optional<TextBlock>> {
              TextBlock block;
              PHOTON_ASSIGN_OR_RETURN(const bool more, reader.Next(&block));
              return more ? std::optional<TextBlock>(std::move(block)) : std::nullopt;
            },
            [](const TextBlock& block) { return static_cast<int64_t>(block.padded.size()); },
            [&](int thread, TextBlock block) {
              return encoders[thread].Encode(block, call_.inputs[block.begin.file].path);
            },
            [&](EncodedBlock block) -> absl::Status {
              PHOTON_RETURN_IF_ERROR(output.Add(block, call_.inputs[block.begin.file].path));
              ShowBadLines(block, progress);
              if (output.lines() >= kJudgedFrom) PHOTON_RETURN_IF_ERROR(CheckSkipped(output));
              progress.Update(block.consumed, total);
              if (Now() - durable < options_.durable_seconds) return absl::OkStatus();
              const absl::Status saved = MakeDurable(output);
              durable = Now();
              return saved;
            });
  }

  void ShowBadLines(const EncodedBlock& block, ProgressLine& progress) {
    for (const BadLine& line : block.bad) {
      if (++bad_lines_ > kShownBadLines + 1) return;
      if (bad_lines_ > kShownBadLines) {
        progress.Say(absl::StrCat("More bad lines are not shown; they will be in ", options_.out, ".rejects.jsonl"));
        return;
      }
      progress.Say(absl::StrCat(line.replaced ? "replaced in " : "skipped: ", call_.inputs[block.begin.file].path,
                                ", line ", line.line, ": ", line.problem));
    }
  }

  absl::Status CheckResult(PrepareOutput& output) {
    const TokenFileInfo info = output.Info(options_.out);
    if (info.documents == 0) {
      resumable_ = false;
      const std::string skipped =
          info.skipped_lines > 0 ? absl::StrCat(" but for ", info.skipped_lines, " bad lines") : "";
      return absl::InvalidArgumentError(absl::StrCat("the input holds no text: ", call_.inputs.front().path,
                                                     call_.inputs.size() > 1 ? " and the others are" : " is", " empty",
                                                     skipped));
    }
    return CheckSkipped(output);
  }

  absl::Status CheckSkipped(PrepareOutput& output) {
    if (output.skipped_share() <= options_.max_skipped) return absl::OkStatus();
    PHOTON_RETURN_IF_ERROR(MakeDurable(output));
    return absl::InvalidArgumentError(absl::StrFormat(
        "%.3g %% of the lines are bad, %d of them: look at %s/rejects.jsonl.tmp; --max-skipped allows for more",
        100 * output.skipped_share(), output.skipped_lines(), folder_));
  }

  absl::Status Publish() {
    absl::StatusOr<std::optional<TokenFileInfo>> info = TokenFileInfo::Read(PartialPrefix(folder_, ""));
    if (info.ok() && !info->has_value()) info = TokenFileInfo::Read(options_.out);  // it has its name already
    if (!info.ok()) return info.status();
    if (!info->has_value()) return absl::DataLossError(absl::StrCat(folder_, " lacks files: ", kStartOver));
    info_ = **std::move(info);
    if (options_.train_tokenizer > 0 && !options_.tokenizer.empty()) {
      PHOTON_RETURN_IF_ERROR(WriteFile(options_.tokenizer, tokenizer_->bytes(), files_));
    }
    PHOTON_RETURN_IF_ERROR(
        PublishPrepared(folder_, options_.out, state_, TokenizerFileName(tokenizer_->bytes()), files_));
    PHOTON_RETURN_IF_ERROR(RemoveFile(StatePath(), files_));
    resumable_ = false;
    return RemoveTree(folder_, files_);
  }

  const PrepareOptions& options_;
  FileSystem& files_;  // publishing goes through it
  const std::string folder_;
  PrepareCall call_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  PrepareState state_;
  bool resumable_ = false;  // the folder holds a state
  bool finished_ = false;   // an earlier call did it all
  int64_t bad_lines_ = 0;
  TokenFileInfo info_;
};

}  // namespace

absl::StatusOr<TokenFileInfo> Prepare(const PrepareOptions& options, FileSystem& files) {
  if (options.out.empty()) return absl::InvalidArgumentError("no output: give --out PREFIX");
  return Preparation(options, files).Run();
}

}  // namespace photon
