// What `photon prepare` has made so far: token files, counts, the list of bad lines, what is known of duplicates. All
// of it can be made durable at any block's end and taken up again from there. Used by one thread.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "core/file.h"
#include "core/status.h"
#include "data/encode_block.h"
#include "data/prepare_state.h"
#include "data/token_file_info.h"
#include "data/token_file_writer.h"
#include "data/tokenizer.h"
#include "data/unigram.h"

namespace photon {

class PrepareOutput {
 public:
  // In `folder`, from where `state` stands: a new one, or what State() was when Sync last returned.
  static absl::StatusOr<PrepareOutput> Open(const std::string& folder, std::shared_ptr<const Tokenizer> tokenizer,
                                            PrepareState state);

  // `path` of the file that the block is from. Afterwards the position is the block's end.
  absl::Status Add(const EncodedBlock& block, const std::string& path);
  // What was added so far is durable.
  absl::Status Sync();
  PrepareState State() const;

  // Completes the token files and their descriptions, in the folder.
  absl::Status Finish(const std::string& prefix);

  // Of all documents, as PREFIX.json tells.
  TokenFileInfo Info(const std::string& prefix) const;
  int64_t lines() const { return state_.lines; }  // read
  int64_t skipped_lines() const { return state_.skipped_lines; }
  double skipped_share() const;  // of all lines

 private:
  struct File {
    std::string name;  // PREFIX.NAME; empty: PREFIX itself
    TokenFileWriter writer;
    SourceCount count;
    UnigramCounts unigrams;
  };

  PrepareOutput(std::string folder, std::shared_ptr<const Tokenizer> tokenizer, PrepareState state, OutputFile rejects,
                OutputFile hashes)
      : folder_(std::move(folder)),
        tokenizer_(std::move(tokenizer)),
        state_(std::move(state)),
        rejects_(std::move(rejects)),
        hashes_(std::move(hashes)) {}
  absl::Status ReadHashes();
  absl::Status AddPart(const EncodedPart& part, const std::string& source, absl::Span<const int32_t> ids);
  absl::Status AddBadLine(const BadLine& line, const std::string& path);
  absl::StatusOr<bool> SeenBefore(const TextHash& hash);
  absl::StatusOr<File*> FileOf(const std::string& source);
  absl::Status OpenFile(PrepareState::Output output);
  std::string FreeName(const std::string& source) const;
  TokenFileInfo InfoOf(const SourceCount& count, const UnigramCounts& unigrams) const;

  std::string folder_;
  std::shared_ptr<const Tokenizer> tokenizer_;
  PrepareState state_;  // but for outputs, whose truth is files_
  std::vector<std::unique_ptr<File>> files_;
  std::map<std::string, File*> file_of_;  // by source, where there is a file for each
  OutputFile rejects_, hashes_;
  absl::flat_hash_set<TextHash> seen_;
};

// PREFIX, or PREFIX.NAME.
std::string OutputPrefix(const std::string& prefix, const std::string& name);
// Where a file stands in the folder until it is complete.
std::string PartialPrefix(const std::string& folder, const std::string& name);

}  // namespace photon
