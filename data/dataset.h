// Training sequences from a token file: which tokens sample k holds, and which samples make batch n.
//
// Sample k covers T positions. It begins at stream position k T (counted from the first document of the range) and
// takes documents from there, each padded with end-of-text to a multiple of `align`, until T positions are full. What
// the padding pushes out of the sample is dropped (about 1 %); nothing is in two samples. There are floor(tokens / T)
// samples, at least one; a range of fewer than T tokens is one sample, padded.
//
// Position k T mostly lies inside a document. Then the sample begins with the rest of that document, as if it were a
// document of its own: attention and the start latent begin there, and no begin-of-text is put in front. So a sample is
// a pure function of k, long documents are used whole (in parts of at most T) and no token is invented. Its first token
// takes the part of the begin-of-text in the objective: nothing before it is visible, so it is not scored. Beginning at
// the next document instead would leave samples empty, or repeat them, wherever documents are longer than T.
//
// Batch n is samples n B .. n B + B - 1 of the endless sequence of epochs, each epoch being the samples in the order of
// a permutation keyed by (seed, epoch): a pure function of (seed, n), whoever asks. Immutable: any thread may read.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "core/status.h"
#include "core/token_batch.h"
#include "data/batch_source.h"
#include "data/permutation.h"
#include "data/token_file.h"
#include "data/token_reader.h"

namespace photon {

struct DocumentRange {
  int64_t begin = 0;
  int64_t end = 0;
};

// The last ceil(fraction * documents) documents are for validation; both parts have at least one. kInvalidArgument
// where that can't be.
struct DocumentSplit {
  DocumentRange train, valid;
};
absl::StatusOr<DocumentSplit> SplitDocuments(const TokenFile& file, double valid_fraction);

struct DatasetOptions {
  int64_t sequence_length = 0;  // T
  int64_t align = 1;            // divides T
  bool document_mask = true;    // false: document_begin is 0 everywhere. What is scored stays the same
  uint64_t seed = 1;            // of the sample order
  int64_t vocab_size = 0;       // the model's: larger ids are an error
  int32_t padding = 0;          // end-of-text
};

class Dataset : public BatchSource {
 public:
  static absl::StatusOr<std::shared_ptr<const Dataset>> Create(std::shared_ptr<const TokenFile> file,
                                                               DocumentRange documents, const DatasetOptions& options);

  int64_t samples() const { return samples_; }  // in an epoch
  int64_t tokens() const { return end_ - begin_; }
  const DatasetOptions& options() const { return options_; }
  const TokenFile& file() const { return *file_; }

  // `count` samples in stream order, from sample `first` on: for validation.
  absl::StatusOr<TokenBatch> Samples(int64_t first, int64_t count) const;

  absl::StatusOr<TokenBatch> Batch(int64_t step, int64_t batch_sequences, int64_t first, int64_t count) const override;
  absl::Status CheckUnchanged() const override { return file_->CheckUnchanged(); }

  // Writes single samples into batches: for one thread, which keeps it as long as it goes on, so that nothing is
  // allocated, and the order of an epoch is made once.
  class Filler {
   public:
    explicit Filler(const Dataset& dataset) : dataset_(dataset), reader_(dataset.file()) {}
    // Into a row of padding (EmptyBatch).
    absl::Status Fill(int64_t sample, int64_t row, TokenBatch* batch);
    // The sample of this rank in the endless sequence of epochs.
    absl::Status FillRanked(int64_t rank, int64_t row, TokenBatch* batch);

   private:
    absl::Status CheckIds(absl::Span<const int32_t> ids, int64_t position, const TokenReader::Documents& documents);

    const Dataset& dataset_;
    TokenReader reader_;
    std::vector<int32_t> ids_;
    int64_t epoch_ = -1;
    std::optional<Permutation> order_;  // of that epoch
  };
  // `count` rows of padding.
  static TokenBatch EmptyBatch(const DatasetOptions& options, int64_t count);

 private:
  Dataset(std::shared_ptr<const TokenFile> file, const DatasetOptions& options)
      : file_(std::move(file)), options_(options) {}

  std::shared_ptr<const TokenFile> file_;
  DatasetOptions options_;
  int64_t begin_ = 0, end_ = 0;  // stream positions in the file
  int64_t samples_ = 0;
};

}  // namespace photon
