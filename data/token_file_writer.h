// Writes token files (data/token_file.h has their format), in bounded memory and so that a writer that was killed can
// go on. Used by one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/types/span.h"
#include "core/file.h"
#include "core/status.h"
#include "data/token_file.h"

namespace photon {

// Ids are 16-bit where the vocabulary has fewer than 65,500 entries (Megatron's rule), else 32-bit. Both files are seen
// whole or not at all; PREFIX.idx appears last, and an older one goes first, so that an index never stands beside ids
// that are not its own.
class TokenFileWriter {
 public:
  // Where a writer stands. After a Sync, its temporary files and this are enough to go on from here.
  struct Position {
    int64_t tokens = 0;
    int64_t sequences = 0;        // finished ones
    int64_t sequence_tokens = 0;  // of the unfinished one
    int64_t documents = 0;        // finished ones
  };

  // Without Publish nothing is left.
  static absl::StatusOr<TokenFileWriter> Create(const std::string& prefix, int64_t vocab_size);
  // Goes on from a position; the temporary files stay, whatever happens. kDataLoss where they don't reach that far.
  static absl::StatusOr<TokenFileWriter> Resume(const std::string& prefix, int64_t vocab_size,
                                                const Position& position);

  absl::Status Append(absl::Span<const int32_t> ids);  // to the document being written
  absl::Status EndDocument();
  absl::Status Sync();  // what was written so far is durable
  // Makes all of it durable under temporary names (PREFIX.bin.tmp, PREFIX.idx.tmp); Publish then only renames.
  absl::Status Finish();
  absl::Status Publish();

  int64_t tokens() const { return at_.tokens; }
  int64_t documents() const { return at_.documents; }
  const Position& position() const { return at_; }

 private:
  using Open = absl::StatusOr<OutputFile> (*)(const std::string& path, int64_t bytes);

  TokenFileWriter(std::string prefix, IdType type, Position at, Open open, OutputFile ids, OutputFile lengths,
                  OutputFile ends)
      : prefix_(std::move(prefix)),
        type_(type),
        at_(at),
        open_(open),
        ids_(std::move(ids)),
        lengths_(std::move(lengths)),
        ends_(std::move(ends)) {}
  static absl::StatusOr<TokenFileWriter> Make(const std::string& prefix, int64_t vocab_size, const Position& at,
                                              Open open);
  absl::Status EndSequence();
  absl::Status WriteIndex(OutputFile& index);

  std::string prefix_;
  IdType type_;
  Position at_;
  Open open_;
  OutputFile ids_;
  OutputFile lengths_, ends_;        // parts of the index, whose place in it is known only at the end; never published
  std::optional<OutputFile> index_;  // once finished
  std::string packed_;               // ids as they stand in the file
};

}  // namespace photon
