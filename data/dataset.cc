#include "data/dataset.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/check.h"

namespace photon {

absl::StatusOr<DocumentSplit> SplitDocuments(const TokenFile& file, double valid_fraction) {
  const int64_t documents = file.documents();
  if (!(valid_fraction > 0 && valid_fraction < 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("data.valid_fraction is ", valid_fraction, ": choose one between 0 and 1"));
  }
  const int64_t held_out = static_cast<int64_t>(std::ceil(valid_fraction * static_cast<double>(documents)));
  if (documents == 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "token file ", file.prefix(), " has 1 document, so none can be held out: set data.valid_fraction=0 ",
        "(no validation) or data.valid; one plain text is cut into documents by prepare's ", "--document-separator"));
  }
  if (held_out >= documents) {
    return absl::InvalidArgumentError(absl::StrCat("token file ", file.prefix(), " has ", documents,
                                                   " documents: of these data.valid_fraction ", valid_fraction,
                                                   " leaves none to train on; lower it, or set data.valid"));
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
  PHOTON_ASSIGN_OR_RETURN(dataset->begin_, dataset->file_->DocumentBegin(documents.begin));
  PHOTON_ASSIGN_OR_RETURN(dataset->end_, dataset->file_->DocumentBegin(documents.end));
  if (dataset->tokens() <= 0) {
    return absl::InvalidArgumentError(absl::StrCat("token file ", dataset->file_->prefix(), ": documents ",
                                                   documents.begin, " to ", documents.end, " hold no tokens"));
  }
  dataset->samples_ = std::max<int64_t>(1, dataset->tokens() / options.sequence_length);
  return dataset;
}

absl::StatusOr<TokenBatch> Dataset::Samples(int64_t first, int64_t count) const {
  PHOTON_CHECK(first >= 0 && count > 0 && first + count <= samples_) << first << " + " << count << " of " << samples_;
  TokenBatch batch = EmptyBatch(options_, count);
  Filler filler(*this);
  for (int64_t row = 0; row < count; ++row) PHOTON_RETURN_IF_ERROR(filler.Fill(first + row, row, &batch));
  return batch;
}

absl::StatusOr<TokenBatch> Dataset::Batch(int64_t step, int64_t batch_sequences, int64_t first, int64_t count) const {
  PHOTON_CHECK(step >= 0 && first >= 0 && count > 0 && first + count <= batch_sequences);
  TokenBatch batch = EmptyBatch(options_, count);
  Filler filler(*this);
  for (int64_t row = 0; row < count; ++row) {
    PHOTON_RETURN_IF_ERROR(filler.FillRanked(step * batch_sequences + first + row, row, &batch));
  }
  return batch;
}

TokenBatch Dataset::EmptyBatch(const DatasetOptions& options, int64_t count) {
  const int64_t positions = count * options.sequence_length;
  TokenBatch batch;
  batch.sequences = count;
  batch.length = options.sequence_length;
  batch.tokens.assign(positions, options.padding);
  batch.document_begin.assign(positions, 0);
  batch.real.assign(positions, 0);
  batch.scored.assign(positions, 0);
  return batch;
}

absl::Status Dataset::Filler::FillRanked(int64_t rank, int64_t row, TokenBatch* batch) {
  const int64_t epoch = rank / dataset_.samples_;
  if (epoch != epoch_) {
    order_.emplace(dataset_.samples_, dataset_.options_.seed, static_cast<uint64_t>(epoch));
    epoch_ = epoch;
  }
  return Fill((*order_)(rank % dataset_.samples_), row, batch);
}

absl::Status Dataset::Filler::Fill(int64_t sample, int64_t row, TokenBatch* batch) {
  const DatasetOptions& options = dataset_.options_;
  const int64_t length = options.sequence_length, offset = row * length;
  const int64_t first = dataset_.begin_ + sample * length;
  ids_.resize(std::min(length, dataset_.end_ - first));  // padding pushes some of them out at the end
  PHOTON_RETURN_IF_ERROR(reader_.Read(first, absl::MakeSpan(ids_)));
  PHOTON_ASSIGN_OR_RETURN(const TokenReader::Documents documents,
                          reader_.FindDocuments(first, static_cast<int64_t>(ids_.size())));
  PHOTON_RETURN_IF_ERROR(CheckIds(ids_, first, documents));
  int64_t at = 0, position = first;
  for (const int64_t document_end : documents.ends) {
    const int64_t take = std::min(document_end - position, length - at);
    if (take <= 0) continue;  // other tools write empty documents; and the row may be full
    std::copy_n(ids_.begin() + (position - first), take, batch->tokens.begin() + offset + at);
    const int64_t padded = std::min(length, (at + take + options.align - 1) / options.align * options.align);
    if (options.document_mask) std::fill_n(&batch->document_begin[offset + at], padded - at, static_cast<int32_t>(at));
    std::fill_n(batch->real.begin() + offset + at, take, 1);
    std::fill_n(batch->scored.begin() + offset + at + 1, take - 1, 1);
    at = padded;
    position = document_end;
  }
  if (options.document_mask)
    std::fill_n(batch->document_begin.begin() + offset + at, length - at, static_cast<int32_t>(at));
  return absl::OkStatus();
}

absl::Status Dataset::Filler::CheckIds(absl::Span<const int32_t> ids, int64_t position,
                                       const TokenReader::Documents& documents) {
  uint32_t largest = 0;  // negative ids are the largest of all
  for (int32_t id : ids) largest = std::max(largest, static_cast<uint32_t>(id));
  const int64_t vocab_size = dataset_.options_.vocab_size;
  if (largest < vocab_size) return absl::OkStatus();
  const auto bad = std::find(ids.begin(), ids.end(), static_cast<int32_t>(largest));
  const auto document = std::upper_bound(documents.ends.begin(), documents.ends.end(), position + (bad - ids.begin()));
  return absl::InvalidArgumentError(absl::StrCat("token file ", dataset_.file_->prefix(), ".bin: document ",
                                                 documents.first + (document - documents.ends.begin()),
                                                 " holds token id ", *bad, ", but the model's vocabulary has ",
                                                 vocab_size, " entries: was it prepared with another tokenizer?"));
}

}  // namespace photon
