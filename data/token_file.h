// Token files: Megatron-LM's indexed dataset, PREFIX.bin (the ids, one after the other) and PREFIX.idx:
//
//   "MMIDIDX\0\0"  u64 version = 1  u8 type of an id  u64 sequences S  u64 document entries E = documents + 1
//   i32 lengths[S] (ids)  i64 pointers[S] (byte offsets in .bin)  i64 document_indices[E]
//
// all little-endian and unaligned. Document d is the sequences [document_indices[d], document_indices[d + 1]), which
// lie side by side. `photon prepare` writes one sequence a document; Megatron's tools may write several.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "core/status.h"
#include "data/watched_file.h"

namespace photon {

// Megatron's type codes. 6 and 7 are floating point and hold no ids.
enum class IdType : uint8_t { kU8 = 1, kI8 = 2, kI16 = 3, kI32 = 4, kI64 = 5, kU16 = 8 };
int64_t IdBytes(IdType type);
// "token file PREFIX.idx: PROBLEM; prepare it again, or copy it again", kInvalidArgument.
absl::Status BrokenTokenFile(const std::string& path, const std::string& problem);
// The first bytes of an index, with their final zeros, and the bytes before its lengths.
inline constexpr char kIndexMagic[] = "MMIDIDX\0";
inline constexpr int64_t kIndexMagicBytes = sizeof kIndexMagic;
inline constexpr int64_t kIndexHeaderBytes = kIndexMagicBytes + 8 + 1 + 8 + 8;

// An open token file: its header, checked. TokenReader (data/token_reader.h) reads it. Opening takes the same time for
// any size; any number of threads may use it. Positions count ids from the start of PREFIX.bin, in 64 bits.
class TokenFile {
 public:
  // Checks the header and both sizes. kNotFound, or kInvalidArgument with what is wrong with which file.
  static absl::StatusOr<std::shared_ptr<const TokenFile>> Open(const std::string& prefix);

  const std::string& prefix() const { return prefix_; }
  IdType type() const { return type_; }
  int64_t tokens() const { return tokens_; }
  int64_t sequences() const { return sequences_; }
  int64_t documents() const { return documents_; }

  // Where document d begins; d == documents() gives tokens(). kInvalidArgument where the index has no such place.
  absl::StatusOr<int64_t> DocumentBegin(int64_t document) const;

  // kFailedPrecondition, naming the file, where PREFIX.bin, PREFIX.idx or PREFIX.json is not as it was when opened.
  absl::Status CheckUnchanged() const;
  // What the file is known by again, wherever it lies: sizes, and a checksum of the header and of pieces from all over
  // both files. Not of all bytes, which would take minutes.
  absl::StatusOr<std::string> Fingerprint() const;

  // From PREFIX.idx. An index of up to 32 MiB (1.6 million documents) is in memory, where looking costs no system call.
  absl::Status ReadIndex(int64_t offset, void* out, int64_t size) const;
  const WatchedFile& index() const { return index_; }
  const WatchedFile& ids() const { return ids_; }
  // The index's tables, as places in PREFIX.idx.
  int64_t lengths_at() const { return kIndexHeaderBytes; }
  int64_t pointers_at() const { return kIndexHeaderBytes + 4 * sequences_; }
  int64_t entries_at() const { return kIndexHeaderBytes + 12 * sequences_; }

 private:
  TokenFile() = default;
  absl::Status ReadHeader();
  absl::Status CheckSizes();
  template <typename T>
  absl::StatusOr<T> IndexValue(int64_t offset) const;

  std::string prefix_;
  WatchedFile ids_, index_;
  std::string index_bytes_;                 // all of a small one
  std::optional<WatchedFile> description_;  // PREFIX.json
  IdType type_ = IdType::kU16;
  int64_t tokens_ = 0;
  int64_t sequences_ = 0;
  int64_t documents_ = 0;
};

}  // namespace photon
