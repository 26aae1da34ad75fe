// How far a `photon prepare` has come: what is written to disk from time to time, so that the same call goes on from
// there when the first one was killed.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/status.h"
#include "data/block_reader.h"
#include "data/corpus.h"
#include "data/token_file_info.h"
#include "data/token_file_writer.h"

namespace photon {

// What the result depends on. Progress made under one of these is of use under the same only.
struct PrepareCall {
  std::vector<InputFile> inputs;
  std::string tokenizer;       // its hash, or how it was trained
  std::string tokenizer_file;  // where that is, which the result does not depend on
  std::string separator, text_key, source_key;
  bool drop_duplicates = false;
  bool split_by_source = false;
  OnError on_error = OnError::kFail;
};

struct PrepareState {
  // A token file being written.
  struct Output {
    std::string name;  // PREFIX.NAME; empty: PREFIX itself
    TokenFileWriter::Position position = {};
    SourceCount count = {};
    std::vector<int64_t> unigrams = {};  // how often each id occurs
  };

  PrepareCall call;
  bool complete = false;   // nothing is left to do but to give the files their names
  BlockPosition position;  // of the inputs: what comes next
  int64_t consumed = 0;    // TextBlock::consumed
  std::vector<Output> outputs;
  std::map<std::string, SourceCount> sources;  // documents without one under an empty name
  int64_t hashes = 0;                          // of documents, written
  int64_t rejects_bytes = 0;                   // of the list of bad lines, written
  int64_t duplicates = 0;
  int64_t lines = 0;  // read
  int64_t skipped_lines = 0, replaced_lines = 0;
};

// Durably and in one step. In the file: a line of JSON, then the unigram counts as 64-bit integers.
absl::Status SavePrepareState(const std::string& path, const PrepareState& state);
// kNotFound where there is none; kDataLoss where it cannot be understood.
absl::StatusOr<PrepareState> LoadPrepareState(const std::string& path);

// As an object of JSON, and back; kDataLoss naming `path` where it cannot be understood.
std::string TextOf(const PrepareCall& call);
absl::StatusOr<PrepareCall> CallOfText(const std::string& text, const std::string& path);

// What makes the results of two calls differ, "OPTION was A and is B"; empty where nothing does. Dealing otherwise with
// bad lines matters where there were any.
std::string DifferenceOf(const PrepareCall& before, const PrepareCall& now, bool bad_lines);

// kFailedPrecondition, with what differs, where `call` cannot go on from `state`. A call that deals otherwise with bad
// lines can as long as there were none.
absl::Status CheckSameCall(const PrepareState& state, const PrepareCall& call);

}  // namespace photon
