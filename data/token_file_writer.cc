#include "data/token_file_writer.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "core/check.h"

namespace photon {
namespace {

// Small, because many writers are open at once where a corpus is split by source.
constexpr size_t kIdsBuffer = 256 << 10, kIndexBuffer = 32 << 10;

template <typename T>
absl::Status WriteValue(OutputFile& file, T value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  return file.Write({bytes, sizeof value});
}

// `ids` as values of type T, behind each other.
template <typename T>
void Pack(absl::Span<const int32_t> ids, std::string* out) {
  out->resize(ids.size() * sizeof(T));
  int64_t highest = 0;
  bool negative = false;
  for (size_t i = 0; i < ids.size(); ++i) {
    const T id = static_cast<T>(ids[i]);
    std::memcpy(out->data() + i * sizeof(T), &id, sizeof(T));
    highest = std::max<int64_t>(highest, ids[i]);
    negative |= ids[i] < 0;
  }
  PHOTON_CHECK(!negative && highest <= static_cast<int64_t>(std::numeric_limits<T>::max())) << "id " << highest;
}

}  // namespace

absl::StatusOr<TokenFileWriter> TokenFileWriter::Create(const std::string& prefix, int64_t vocab_size) {
  return Make(prefix, vocab_size, {}, [](const std::string& path, int64_t) { return OutputFile::Create(path); });
}

absl::StatusOr<TokenFileWriter> TokenFileWriter::Resume(const std::string& prefix, int64_t vocab_size,
                                                        const Position& position) {
  return Make(prefix, vocab_size, position,
              [](const std::string& path, int64_t bytes) { return OutputFile::Resume(path, bytes); });
}

absl::StatusOr<TokenFileWriter> TokenFileWriter::Make(const std::string& prefix, int64_t vocab_size, const Position& at,
                                                      Open open) {
  constexpr int64_t kSmallVocabulary = 65500;
  const IdType type = vocab_size < kSmallVocabulary ? IdType::kU16 : IdType::kI32;
  PHOTON_ASSIGN_OR_RETURN(OutputFile ids, open(prefix + ".bin", at.tokens * IdBytes(type)));
  PHOTON_ASSIGN_OR_RETURN(OutputFile lengths,
                          open(prefix + ".idx.lengths", at.sequences * static_cast<int64_t>(sizeof(int32_t))));
  PHOTON_ASSIGN_OR_RETURN(OutputFile ends,
                          open(prefix + ".idx.documents", at.documents * static_cast<int64_t>(sizeof(int64_t))));
  ids.SetBuffer(kIdsBuffer);
  lengths.SetBuffer(kIndexBuffer);
  ends.SetBuffer(kIndexBuffer);
  return TokenFileWriter(prefix, type, at, open, std::move(ids), std::move(lengths), std::move(ends));
}

absl::Status TokenFileWriter::Append(absl::Span<const int32_t> ids) {
  constexpr int64_t kLongest = std::numeric_limits<int32_t>::max();  // a length has 31 bits
  constexpr int64_t kPiece = 1 << 16;                                // bounds packed_
  while (!ids.empty()) {
    if (at_.sequence_tokens == kLongest) PHOTON_RETURN_IF_ERROR(EndSequence());
    const int64_t count = std::min({static_cast<int64_t>(ids.size()), kLongest - at_.sequence_tokens, kPiece});
    if (type_ == IdType::kI32) {
      Pack<int32_t>(ids.subspan(0, count), &packed_);
    } else {
      Pack<uint16_t>(ids.subspan(0, count), &packed_);
    }
    PHOTON_RETURN_IF_ERROR(ids_.Write(packed_));
    at_.sequence_tokens += count;
    at_.tokens += count;
    ids.remove_prefix(count);
  }
  return absl::OkStatus();
}

absl::Status TokenFileWriter::EndSequence() {
  PHOTON_RETURN_IF_ERROR(WriteValue(lengths_, static_cast<int32_t>(at_.sequence_tokens)));
  ++at_.sequences;
  at_.sequence_tokens = 0;
  return absl::OkStatus();
}

absl::Status TokenFileWriter::EndDocument() {
  if (at_.sequence_tokens > 0) PHOTON_RETURN_IF_ERROR(EndSequence());
  ++at_.documents;
  return WriteValue(ends_, at_.sequences);
}

absl::Status TokenFileWriter::Sync() {
  PHOTON_RETURN_IF_ERROR(ids_.Sync());
  PHOTON_RETURN_IF_ERROR(lengths_.Sync());
  return ends_.Sync();
}

absl::Status TokenFileWriter::Finish() {
  PHOTON_CHECK(at_.sequence_tokens == 0) << "a document is unfinished";
  PHOTON_ASSIGN_OR_RETURN(OutputFile index, open_(prefix_ + ".idx", 0));
  index.SetBuffer(kIdsBuffer);
  PHOTON_RETURN_IF_ERROR(WriteIndex(index));
  PHOTON_RETURN_IF_ERROR(ids_.Sync());
  PHOTON_RETURN_IF_ERROR(index.Sync());
  index_.emplace(std::move(index));
  return absl::OkStatus();
}

absl::Status TokenFileWriter::WriteIndex(OutputFile& index) {
  PHOTON_RETURN_IF_ERROR(index.Write({kIndexMagic, static_cast<size_t>(kIndexMagicBytes)}));
  PHOTON_RETURN_IF_ERROR(WriteValue(index, uint64_t{1}));
  PHOTON_RETURN_IF_ERROR(WriteValue(index, static_cast<uint8_t>(type_)));
  PHOTON_RETURN_IF_ERROR(WriteValue(index, static_cast<uint64_t>(at_.sequences)));
  PHOTON_RETURN_IF_ERROR(WriteValue(index, static_cast<uint64_t>(at_.documents + 1)));
  PHOTON_RETURN_IF_ERROR(lengths_.ForEachPiece([&](absl::string_view piece) { return index.Write(piece); }));
  int64_t pointer = 0;
  PHOTON_RETURN_IF_ERROR(lengths_.ForEachPiece([&](absl::string_view piece) {
    int32_t length;
    for (size_t i = 0; i < piece.size(); i += sizeof length) {  // pieces hold whole values
      PHOTON_RETURN_IF_ERROR(WriteValue(index, pointer));
      std::memcpy(&length, piece.data() + i, sizeof length);
      pointer += length * IdBytes(type_);
    }
    return absl::OkStatus();
  }));
  PHOTON_RETURN_IF_ERROR(WriteValue(index, int64_t{0}));
  return ends_.ForEachPiece([&](absl::string_view piece) { return index.Write(piece); });
}

absl::Status TokenFileWriter::Publish() {
  PHOTON_CHECK(index_.has_value()) << "Publish before Finish";
  PHOTON_RETURN_IF_ERROR(RemoveFile(prefix_ + ".idx"));
  PHOTON_RETURN_IF_ERROR(ids_.Publish());
  return index_->Publish();
}

}  // namespace photon
