#include "data/dataset.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "data/permutation.h"

namespace photon {

absl::StatusOr<DocumentSplit> SplitDocuments(const TokenFile& file, double valid_fraction) {
  const int64_t documents = file.documents();
  if (!(valid_fraction > 0 && valid_fraction < 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("data.valid_fraction is ", valid_fraction, ": choose one between 0 and 1"));
  }
  const int64_t held_out = static_cast<int64_t>(std::ceil(valid_fraction * static_cast<double>(documents)));
  if (held_out >= documents) {
    return absl::InvalidArgumentError(
        absl::StrCat("token file ", file.prefix(), " has ", documents, " document", documents == 1 ? "" : "s",
                     ": of these data.valid_fraction ", valid_fraction,
                     " leaves none to train on; lower it, set data.valid, or prepare with --document-separator"));
  }
  return DocumentSplit{.train = {0, documents - held_out}, .valid = {documents - held_out, documents}};
}

absl::StatusOr<std::shared_ptr<const Dataset>> Dataset::Create(std::shared_ptr<const TokenFile> file,
                                                               DocumentRange documents, const DatasetOptions& options) {
  PHOTON_CHECK(0 <= documents.begin && documents.begin <= documents.end && documents.end <= file->documents());
  PHOTON_CHECK(options.vocab_size > 0);
  if (options.sequence_length < 1 || options.align < 1 || options.sequence_length % options.align != 0) {
    return absl::InvalidArgumentError(absl::StrCat("data.sequence_length ", options.sequence_length,
                                                   " is not a multiple of data.align ", options.align));
  }
  std::shared_ptr<Dataset> dataset(new Dataset(std::move(file), options));
  dataset->begin_ = dataset->file_->DocumentBegin(documents.begin);
  dataset->end_ = dataset->file_->DocumentBegin(documents.end);
  if (dataset->tokens() <= 0) {
    return absl::InvalidArgumentError(absl::StrCat("token file ", dataset->file_->prefix(), ": documents ",
                                                   documents.begin, " to ", documents.end, " hold no tokens"));
  }
  dataset->samples_ = std::max<int64_t>(1, dataset->tokens() / options.sequence_length);
  return dataset;
}

absl::StatusOr<TokenBatch> Dataset::Samples(int64_t first, int64_t count) const {
  PHOTON_CHECK(first >= 0 && count > 0 && first + count <= samples_) << first << " + " << count << " of " << samples_;
  TokenBatch batch = EmptyBatch(count);
  for (int64_t row = 0; row < count; ++row) PHOTON_RETURN_IF_ERROR(Fill(first + row, row, &batch));
  return batch;
}

absl::StatusOr<TokenBatch> Dataset::Batch(int64_t step, int64_t batch_sequences, int64_t first, int64_t count) const {
  PHOTON_CHECK(step >= 0 && first >= 0 && count > 0 && first + count <= batch_sequences);
  TokenBatch batch = EmptyBatch(count);
  for (int64_t row = 0; row < count; ++row) {
    const int64_t index = step * batch_sequences + first + row;
    const Permutation order(samples_, options_.seed, static_cast<uint64_t>(index / samples_));
    PHOTON_RETURN_IF_ERROR(Fill(order(index % samples_), row, &batch));
  }
  return batch;
}

TokenBatch Dataset::EmptyBatch(int64_t count) const {
  const int64_t positions = count * options_.sequence_length;
  TokenBatch batch;
  batch.sequences = count;
  batch.length = options_.sequence_length;
  batch.tokens.assign(positions, options_.padding);
  batch.document_begin.assign(positions, 0);
  batch.real.assign(positions, 0);
  batch.scored.assign(positions, 0);
  return batch;
}

absl::Status Dataset::Fill(int64_t sample, int64_t row, TokenBatch* batch) const {
  const int64_t length = options_.sequence_length, offset = row * length;
  int64_t position = begin_ + sample * length;
  int64_t at = 0;
  for (int64_t d = file_->FindDocument(position); at < length && position < end_; ++d) {
    PHOTON_RETURN_IF_ERROR(file_->CheckDocument(d));
    const int64_t document_end = file_->DocumentBegin(d + 1);
    const int64_t take = std::min(document_end - position, length - at);
    if (take == 0) continue;  // other tools write empty documents
    file_->Read(position, absl::MakeSpan(batch->tokens).subspan(offset + at, take));
    PHOTON_RETURN_IF_ERROR(CheckIds(*batch, offset + at, take, d));
    const int64_t padded = std::min(length, (at + take + options_.align - 1) / options_.align * options_.align);
    if (options_.document_mask) std::fill_n(&batch->document_begin[offset + at], padded - at, static_cast<int32_t>(at));
    std::fill_n(&batch->real[offset + at], take, 1);
    std::fill_n(batch->scored.begin() + offset + at + 1, take - 1, 1);
    at = padded;
    position = document_end;
  }
  if (options_.document_mask)
    std::fill_n(batch->document_begin.begin() + offset + at, length - at, static_cast<int32_t>(at));
  return absl::OkStatus();
}

absl::Status Dataset::CheckIds(const TokenBatch& batch, int64_t offset, int64_t count, int64_t document) const {
  const auto begin = batch.tokens.begin() + offset;
  const auto [low, high] = std::minmax_element(begin, begin + count);
  if (*low >= 0 && *high < options_.vocab_size) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "token file ", file_->prefix(), ".bin: document ", document, " holds token id ", *low < 0 ? *low : *high,
      ", but the model's vocabulary has ", options_.vocab_size, " entries: was it prepared with another tokenizer?"));
}

}  // namespace photon
