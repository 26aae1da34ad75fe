#include "data/token_file.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/checksum.h"

namespace photon {
namespace {

constexpr int64_t kIndexInMemory = int64_t{32} << 20;

template <typename T>
T Load(const char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

// A file's size and what it holds at its begin, its end and places between.
absl::Status AddPieces(const WatchedFile& file, StreamChecksum* checksum) {
  constexpr int64_t kPieces = 16, kPieceBytes = 4096;
  checksum->Add(absl::StrCat(file.size(), ";"));
  std::string piece(std::min(kPieceBytes, file.size()), '\0');
  const int64_t last = file.size() - static_cast<int64_t>(piece.size());
  for (int64_t i = 0; i < kPieces; ++i) {
    const auto offset = static_cast<int64_t>(static_cast<__int128>(last) * i / (kPieces - 1));
    PHOTON_RETURN_IF_ERROR(file.Read(offset, piece.data(), static_cast<int64_t>(piece.size())));
    checksum->Add(piece);
  }
  return absl::OkStatus();
}

}  // namespace

int64_t IdBytes(IdType type) {
  switch (type) {
    case IdType::kU8:
    case IdType::kI8:
      return 1;
    case IdType::kI16:
    case IdType::kU16:
      return 2;
    case IdType::kI32:
      return 4;
    case IdType::kI64:
      break;
  }
  return 8;
}

absl::Status BrokenTokenFile(const std::string& path, const std::string& problem) {
  return absl::InvalidArgumentError(
      absl::StrCat("token file ", path, ": ", problem, "; prepare it again, or copy it again"));
}

absl::StatusOr<std::shared_ptr<const TokenFile>> TokenFile::Open(const std::string& prefix) {
  std::shared_ptr<TokenFile> file(new TokenFile);
  file->prefix_ = prefix;
  PHOTON_ASSIGN_OR_RETURN(file->index_, WatchedFile::Open(prefix + ".idx", "token file"));
  PHOTON_ASSIGN_OR_RETURN(file->ids_, WatchedFile::Open(prefix + ".bin", "token file"));
  absl::StatusOr<WatchedFile> description = WatchedFile::Open(prefix + ".json", "token file");
  if (description.ok()) file->description_ = *std::move(description);  // others' tools write none
  PHOTON_RETURN_IF_ERROR(file->ReadHeader());
  PHOTON_RETURN_IF_ERROR(file->CheckSizes());
  if (file->index_.size() <= kIndexInMemory) {
    std::string bytes(file->index_.size(), '\0');
    PHOTON_RETURN_IF_ERROR(file->index_.Read(0, bytes.data(), file->index_.size()));
    file->index_bytes_ = std::move(bytes);
  }
  return file;
}

absl::Status TokenFile::ReadIndex(int64_t offset, void* out, int64_t size) const {
  if (index_bytes_.empty()) return index_.Read(offset, out, size);
  PHOTON_CHECK(offset >= 0 && size >= 0 && offset <= index_.size() - size) << offset << " + " << size;
  std::memcpy(out, index_bytes_.data() + offset, size);
  return absl::OkStatus();
}

absl::Status TokenFile::ReadHeader() {
  char header[kIndexHeaderBytes];
  const bool long_enough = index_.size() >= kIndexHeaderBytes;
  if (long_enough) PHOTON_RETURN_IF_ERROR(index_.Read(0, header, kIndexHeaderBytes));
  if (!long_enough || std::memcmp(header, kIndexMagic, kIndexMagicBytes) != 0) {
    return BrokenTokenFile(index_.path(), "not a Megatron index (wrong first bytes)");
  }
  const auto version = Load<uint64_t>(header + kIndexMagicBytes);
  if (version != 1) return BrokenTokenFile(index_.path(), absl::StrCat("version ", version, ", only 1 is known"));
  const int type = Load<uint8_t>(header + kIndexMagicBytes + 8);
  if (type == 0 || type > 8 || type == 6 || type == 7) {
    return BrokenTokenFile(index_.path(), absl::StrCat("type code ", type, " is no integer type that holds token ids"));
  }
  type_ = static_cast<IdType>(type);
  const auto sequences = Load<uint64_t>(header + kIndexMagicBytes + 9);
  const auto entries = Load<uint64_t>(header + kIndexMagicBytes + 17);
  const auto size = static_cast<uint64_t>(index_.size() - kIndexHeaderBytes);
  // The first two comparisons keep the sum from overflowing. Multimodal files carry one more byte a sequence.
  const bool fits = sequences <= size / 12 && entries <= size / 8 &&
                    (sequences * 12 + entries * 8 == size || sequences * 13 + entries * 8 == size);
  if (!fits) {
    return BrokenTokenFile(index_.path(), absl::StrCat(index_.size(), " bytes don't fit ", sequences, " sequences and ",
                                                       entries, " document entries: truncated?"));
  }
  if (sequences == 0 || entries < 2) return BrokenTokenFile(index_.path(), "holds no documents");
  sequences_ = static_cast<int64_t>(sequences);
  documents_ = static_cast<int64_t>(entries) - 1;
  return absl::OkStatus();
}

template <typename T>
absl::StatusOr<T> TokenFile::IndexValue(int64_t offset) const {
  T value;
  PHOTON_RETURN_IF_ERROR(ReadIndex(offset, &value, sizeof value));
  return value;
}

absl::Status TokenFile::CheckSizes() {
  PHOTON_ASSIGN_OR_RETURN(const auto last_pointer, IndexValue<int64_t>(pointers_at() + 8 * (sequences_ - 1)));
  PHOTON_ASSIGN_OR_RETURN(const auto last_length, IndexValue<int32_t>(lengths_at() + 4 * (sequences_ - 1)));
  int64_t want = 0;
  const bool counts = !__builtin_add_overflow(last_pointer, last_length * IdBytes(type_), &want);
  if (!counts || ids_.size() != want) {
    return BrokenTokenFile(ids_.path(), absl::StrCat(ids_.size(), " bytes, but the index speaks of ",
                                                     counts ? absl::StrCat(want) : "more than 64 bits count",
                                                     ": truncated, or of another index"));
  }
  if (ids_.size() == 0) return BrokenTokenFile(ids_.path(), "holds no tokens");
  PHOTON_ASSIGN_OR_RETURN(const auto first_pointer, IndexValue<int64_t>(pointers_at()));
  PHOTON_ASSIGN_OR_RETURN(const auto first_entry, IndexValue<int64_t>(entries_at()));
  PHOTON_ASSIGN_OR_RETURN(const auto last_entry, IndexValue<int64_t>(entries_at() + 8 * documents_));
  if (first_pointer != 0 || first_entry != 0 || last_entry != sequences_) {
    return BrokenTokenFile(index_.path(), "its documents don't cover its sequences");
  }
  tokens_ = ids_.size() / IdBytes(type_);
  return absl::OkStatus();
}

absl::StatusOr<int64_t> TokenFile::DocumentBegin(int64_t document) const {
  PHOTON_CHECK(document >= 0 && document <= documents_) << document << " of " << documents_;
  PHOTON_ASSIGN_OR_RETURN(const auto sequence, IndexValue<int64_t>(entries_at() + 8 * document));
  if (sequence == sequences_) return tokens_;
  if (sequence >= 0 && sequence < sequences_) {
    PHOTON_ASSIGN_OR_RETURN(const auto pointer, IndexValue<int64_t>(pointers_at() + 8 * sequence));
    if (pointer >= 0 && pointer <= ids_.size()) return pointer / IdBytes(type_);
  }
  return BrokenTokenFile(index_.path(), absl::StrCat("document ", document, " begins nowhere in the .bin file"));
}

absl::Status TokenFile::CheckUnchanged() const {
  PHOTON_RETURN_IF_ERROR(index_.CheckUnchanged());
  PHOTON_RETURN_IF_ERROR(ids_.CheckUnchanged());
  return description_.has_value() ? description_->CheckUnchanged() : absl::OkStatus();
}

absl::StatusOr<std::string> TokenFile::Fingerprint() const {
  StreamChecksum checksum;
  PHOTON_RETURN_IF_ERROR(AddPieces(index_, &checksum));
  PHOTON_RETURN_IF_ERROR(AddPieces(ids_, &checksum));
  return checksum.Hex();
}

}  // namespace photon
