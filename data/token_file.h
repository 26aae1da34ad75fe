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
#include <string>

#include "absl/types/span.h"
#include "core/file.h"
#include "core/status.h"

namespace photon {

// Megatron's type codes. 6 and 7 are floating point and hold no ids.
enum class IdType : uint8_t { kU8 = 1, kI8 = 2, kI16 = 3, kI32 = 4, kI64 = 5, kU16 = 8 };
int64_t IdBytes(IdType type);

// Reads a token file through memory maps: opening takes no time, any number of threads may read.
// Positions count ids from the start of PREFIX.bin, in 64 bits.
class TokenFile {
 public:
  // Checks the header and both sizes. kNotFound, or kInvalidArgument with what is wrong with which file.
  static absl::StatusOr<std::shared_ptr<const TokenFile>> Open(const std::string& prefix);

  const std::string& prefix() const { return prefix_; }
  IdType type() const { return type_; }
  int64_t tokens() const { return tokens_; }
  int64_t sequences() const { return sequences_; }
  int64_t documents() const { return documents_; }

  // Where document d begins; d == documents() gives tokens().
  int64_t DocumentBegin(int64_t document) const;
  // The (non-empty) document that holds `position`, by binary search. position < tokens().
  int64_t FindDocument(int64_t position) const;
  // kInvalidArgument where the index contradicts itself at this document. Too slow to ask of all documents on opening.
  absl::Status CheckDocument(int64_t document) const;
  // Ids [position, position + out.size()). Ids that don't fit in 31 bits become -1.
  void Read(int64_t position, absl::Span<int32_t> out) const;

 private:
  TokenFile() = default;
  absl::Status ReadHeader();
  absl::Status CheckSizes();
  int64_t SequenceLength(int64_t sequence) const;
  int64_t SequencePointer(int64_t sequence) const;  // bytes
  int64_t DocumentEntry(int64_t entry) const;       // a sequence

  std::string prefix_;
  MappedFile ids_;
  MappedFile index_;
  IdType type_ = IdType::kU16;
  int64_t tokens_ = 0;
  int64_t sequences_ = 0;
  int64_t documents_ = 0;
};

// Writes a token file in bounded memory: ids are 16-bit where the vocabulary has fewer than 65,500 entries (Megatron's
// rule), else 32-bit. Both files are seen whole or not at all; PREFIX.idx appears last, and an older one goes first, so
// that an index never stands beside ids that are not its own.
class TokenFileWriter {
 public:
  static absl::StatusOr<TokenFileWriter> Create(const std::string& prefix, int64_t vocab_size);

  absl::Status Append(absl::Span<const int32_t> ids);  // to the document being written
  absl::Status EndDocument();
  // Makes all of it durable under temporary names; Publish then only renames.
  absl::Status Finish();
  absl::Status Publish();

  int64_t tokens() const { return tokens_; }
  int64_t documents() const { return documents_; }

 private:
  TokenFileWriter(std::string prefix, IdType type, OutputFile ids, OutputFile index, OutputFile lengths,
                  OutputFile ends)
      : prefix_(std::move(prefix)),
        type_(type),
        ids_(std::move(ids)),
        index_(std::move(index)),
        lengths_(std::move(lengths)),
        ends_(std::move(ends)) {}
  absl::Status EndSequence();

  std::string prefix_;
  IdType type_;
  OutputFile ids_, index_;
  OutputFile lengths_, ends_;  // parts of the index, whose place in it is known only at the end; never published
  int64_t tokens_ = 0;
  int64_t sequence_tokens_ = 0;
  int64_t sequences_ = 0;
  int64_t documents_ = 0;
};

}  // namespace photon
