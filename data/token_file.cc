#include "data/token_file.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/check.h"

namespace photon {
namespace {

constexpr char kMagic[] = "MMIDIDX\0";  // 9 bytes with the final zero
constexpr int64_t kMagicBytes = 9;
constexpr int64_t kHeaderBytes = kMagicBytes + 8 + 1 + 8 + 8;

template <typename T>
T Load(absl::string_view bytes, int64_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

// Calls f with a value of the C++ type that `type` names.
template <typename F>
auto VisitId(IdType type, F&& f) {
  switch (type) {
    case IdType::kU8:
      return f(uint8_t{});
    case IdType::kI8:
      return f(int8_t{});
    case IdType::kI16:
      return f(int16_t{});
    case IdType::kI64:
      return f(int64_t{});
    case IdType::kU16:
      return f(uint16_t{});
    case IdType::kI32:
      break;
  }
  return f(int32_t{});
}

template <typename... Parts>
absl::Status Broken(const std::string& prefix, const char* extension, Parts... parts) {
  return absl::InvalidArgumentError(
      absl::StrCat("token file ", prefix, extension, ": ", parts..., "; prepare it again, or copy it again"));
}

}  // namespace

int64_t IdBytes(IdType type) {
  return VisitId(type, [](auto id) { return static_cast<int64_t>(sizeof id); });
}

absl::StatusOr<std::shared_ptr<const TokenFile>> TokenFile::Open(const std::string& prefix) {
  std::shared_ptr<TokenFile> file(new TokenFile);
  file->prefix_ = prefix;
  PHOTON_ASSIGN_OR_RETURN(file->index_, MappedFile::Open(prefix + ".idx", "token file"));
  PHOTON_ASSIGN_OR_RETURN(file->ids_, MappedFile::Open(prefix + ".bin", "token file"));
  PHOTON_RETURN_IF_ERROR(file->ReadHeader());
  PHOTON_RETURN_IF_ERROR(file->CheckSizes());
  return file;
}

absl::Status TokenFile::ReadHeader() {
  const absl::string_view index = index_.bytes();
  if (static_cast<int64_t>(index.size()) < kHeaderBytes || std::memcmp(index.data(), kMagic, kMagicBytes) != 0) {
    return Broken(prefix_, ".idx", "not a Megatron index (wrong first bytes)");
  }
  const uint64_t version = Load<uint64_t>(index, kMagicBytes);
  if (version != 1) return Broken(prefix_, ".idx", "version ", version, ", only 1 is known");
  const int type = Load<uint8_t>(index, kMagicBytes + 8);
  if (type == 0 || type > 8 || type == 6 || type == 7) {
    return Broken(prefix_, ".idx", "type code ", type, " is no integer type that holds token ids");
  }
  type_ = static_cast<IdType>(type);
  const uint64_t sequences = Load<uint64_t>(index, kMagicBytes + 9);
  const uint64_t entries = Load<uint64_t>(index, kMagicBytes + 17);
  const uint64_t size = index.size() - kHeaderBytes;
  // The first two comparisons keep the sum from overflowing. Multimodal files carry one more byte a sequence.
  const bool fits = sequences <= size / 12 && entries <= size / 8 &&
                    (sequences * 12 + entries * 8 == size || sequences * 13 + entries * 8 == size);
  if (!fits) {
    return Broken(prefix_, ".idx", index.size(), " bytes don't fit ", sequences, " sequences and ", entries,
                  " document entries: truncated?");
  }
  if (sequences == 0 || entries < 2) return Broken(prefix_, ".idx", "holds no documents");
  sequences_ = static_cast<int64_t>(sequences);
  documents_ = static_cast<int64_t>(entries) - 1;
  return absl::OkStatus();
}

absl::Status TokenFile::CheckSizes() {
  const int64_t bytes = static_cast<int64_t>(ids_.bytes().size());
  const int64_t want = SequencePointer(sequences_ - 1) + SequenceLength(sequences_ - 1) * IdBytes(type_);
  if (bytes != want) {
    return Broken(prefix_, ".bin", bytes, " bytes, but the index speaks of ", want, ": truncated, or of another index");
  }
  if (bytes == 0) return Broken(prefix_, ".bin", "holds no tokens");
  if (SequencePointer(0) != 0 || DocumentEntry(0) != 0 || DocumentEntry(documents_) != sequences_) {
    return Broken(prefix_, ".idx", "its documents don't cover its sequences");
  }
  tokens_ = bytes / IdBytes(type_);
  return absl::OkStatus();
}

int64_t TokenFile::SequenceLength(int64_t sequence) const {
  return Load<int32_t>(index_.bytes(), kHeaderBytes + 4 * sequence);
}

int64_t TokenFile::SequencePointer(int64_t sequence) const {
  return Load<int64_t>(index_.bytes(), kHeaderBytes + 4 * sequences_ + 8 * sequence);
}

int64_t TokenFile::DocumentEntry(int64_t entry) const {
  return Load<int64_t>(index_.bytes(), kHeaderBytes + 12 * sequences_ + 8 * entry);
}

int64_t TokenFile::DocumentBegin(int64_t document) const {
  const int64_t sequence = DocumentEntry(document);
  if (sequence < 0 || sequence >= sequences_) return tokens_;
  return SequencePointer(sequence) / IdBytes(type_);
}

int64_t TokenFile::FindDocument(int64_t position) const {
  PHOTON_CHECK(position >= 0 && position < tokens_) << position << " of " << tokens_;
  int64_t low = 0, high = documents_;  // DocumentBegin(low) <= position < DocumentBegin(high)
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    (DocumentBegin(middle) <= position ? low : high) = middle;
  }
  return low;
}

absl::Status TokenFile::CheckDocument(int64_t document) const {
  const int64_t first = DocumentEntry(document), last = DocumentEntry(document + 1);
  bool good = first >= 0 && first <= last && last <= sequences_;
  for (int64_t s = first; good && s < last; ++s) {
    const int64_t end = SequencePointer(s) + SequenceLength(s) * IdBytes(type_);
    const int64_t next = s + 1 < sequences_ ? SequencePointer(s + 1) : static_cast<int64_t>(ids_.bytes().size());
    good = SequenceLength(s) >= 0 && SequencePointer(s) >= 0 && end == next;
  }
  return good ? absl::OkStatus()
              : Broken(prefix_, ".idx", "document ", document,
                       ": its sequences don't lie side by side in the .bin file");
}

void TokenFile::Read(int64_t position, absl::Span<int32_t> out) const {
  const int64_t count = static_cast<int64_t>(out.size());
  PHOTON_CHECK(position >= 0 && position <= tokens_ - count) << position << " + " << count << " of " << tokens_;
  VisitId(type_, [&](auto id) {
    using Id = decltype(id);
    const char* from = ids_.bytes().data() + position * static_cast<int64_t>(sizeof(Id));
    for (int64_t i = 0; i < count; ++i) {
      std::memcpy(&id, from + i * sizeof(Id), sizeof(Id));
      if constexpr (std::is_same_v<Id, int64_t>) {
        if (id > std::numeric_limits<int32_t>::max() || id < 0) id = -1;
      }
      out[i] = static_cast<int32_t>(id);
    }
  });
}

absl::StatusOr<TokenFileWriter> TokenFileWriter::Create(const std::string& prefix, int64_t vocab_size) {
  PHOTON_ASSIGN_OR_RETURN(OutputFile ids, OutputFile::Create(prefix + ".bin"));
  PHOTON_ASSIGN_OR_RETURN(OutputFile index, OutputFile::Create(prefix + ".idx"));
  PHOTON_ASSIGN_OR_RETURN(OutputFile lengths, OutputFile::Create(prefix + ".idx.lengths"));
  PHOTON_ASSIGN_OR_RETURN(OutputFile ends, OutputFile::Create(prefix + ".idx.documents"));
  constexpr int64_t kSmallVocabulary = 65500;
  return TokenFileWriter(prefix, vocab_size < kSmallVocabulary ? IdType::kU16 : IdType::kI32, std::move(ids),
                         std::move(index), std::move(lengths), std::move(ends));
}

namespace {

template <typename T>
absl::Status WriteValue(OutputFile& file, T value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  return file.Write({bytes, sizeof value});
}

}  // namespace

absl::Status TokenFileWriter::Append(absl::Span<const int32_t> ids) {
  constexpr int64_t kLongest = std::numeric_limits<int32_t>::max();  // a length has 31 bits
  while (!ids.empty()) {
    if (sequence_tokens_ == kLongest) PHOTON_RETURN_IF_ERROR(EndSequence());
    const int64_t count = std::min<int64_t>(ids.size(), kLongest - sequence_tokens_);
    for (int32_t id : ids.subspan(0, count)) {
      PHOTON_CHECK(id >= 0 && (type_ == IdType::kI32 || id <= 0xffff)) << "id " << id;
      PHOTON_RETURN_IF_ERROR(type_ == IdType::kI32 ? WriteValue(ids_, id)
                                                   : WriteValue(ids_, static_cast<uint16_t>(id)));
    }
    sequence_tokens_ += count;
    tokens_ += count;
    ids.remove_prefix(count);
  }
  return absl::OkStatus();
}

absl::Status TokenFileWriter::EndSequence() {
  PHOTON_RETURN_IF_ERROR(WriteValue(lengths_, static_cast<int32_t>(sequence_tokens_)));
  ++sequences_;
  sequence_tokens_ = 0;
  return absl::OkStatus();
}

absl::Status TokenFileWriter::EndDocument() {
  if (sequence_tokens_ > 0) PHOTON_RETURN_IF_ERROR(EndSequence());
  ++documents_;
  return WriteValue(ends_, sequences_);
}

absl::Status TokenFileWriter::Finish() {
  PHOTON_CHECK(sequence_tokens_ == 0) << "a document is unfinished";
  PHOTON_RETURN_IF_ERROR(index_.Write({kMagic, static_cast<size_t>(kMagicBytes)}));
  PHOTON_RETURN_IF_ERROR(WriteValue(index_, uint64_t{1}));
  PHOTON_RETURN_IF_ERROR(WriteValue(index_, static_cast<uint8_t>(type_)));
  PHOTON_RETURN_IF_ERROR(WriteValue(index_, static_cast<uint64_t>(sequences_)));
  PHOTON_RETURN_IF_ERROR(WriteValue(index_, static_cast<uint64_t>(documents_ + 1)));
  PHOTON_RETURN_IF_ERROR(lengths_.ForEachPiece([&](absl::string_view piece) { return index_.Write(piece); }));
  int64_t pointer = 0;
  PHOTON_RETURN_IF_ERROR(lengths_.ForEachPiece([&](absl::string_view piece) {
    for (size_t i = 0; i < piece.size(); i += sizeof(int32_t)) {  // pieces hold whole values
      PHOTON_RETURN_IF_ERROR(WriteValue(index_, pointer));
      pointer += Load<int32_t>(piece, i) * IdBytes(type_);
    }
    return absl::OkStatus();
  }));
  PHOTON_RETURN_IF_ERROR(WriteValue(index_, int64_t{0}));
  PHOTON_RETURN_IF_ERROR(ends_.ForEachPiece([&](absl::string_view piece) { return index_.Write(piece); }));
  PHOTON_RETURN_IF_ERROR(ids_.Sync());
  return index_.Sync();
}

absl::Status TokenFileWriter::Publish() {
  PHOTON_RETURN_IF_ERROR(RemoveFile(prefix_ + ".idx"));
  PHOTON_RETURN_IF_ERROR(ids_.Publish());
  return index_.Publish();
}

}  // namespace photon
