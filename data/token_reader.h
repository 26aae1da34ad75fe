// Reads ids and document borders of a token file for one thread, which has its own. Buffers are kept, so reading a
// sample allocates nothing, and asks the system once, or four or five times where the index is large.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "core/status.h"
#include "data/token_file.h"

namespace photon {

class TokenReader {
 public:
  explicit TokenReader(const TokenFile& file);

  // Ids [position, position + out.size()). Ids that don't fit in 31 bits become -1.
  absl::Status Read(int64_t position, absl::Span<int32_t> out);

  // Documents that hold positions [begin, begin + count), the first by its number. `ends` is where each of them ends,
  // the last cut at begin + count; empty documents end where they begin. The spans are good until the next call.
  struct Documents {
    int64_t first = 0;
    absl::Span<const int64_t> ends;
  };
  // kInvalidArgument where the index contradicts itself there. (Asking that of all documents on opening would take too
  // long.)
  absl::StatusOr<Documents> FindDocuments(int64_t begin, int64_t count);

 private:
  // A table of the index that doesn't decrease, seen through a window.
  class Table {
   public:
    Table(const TokenFile& file, int64_t at, int64_t size) : file_(file), at_(at), size_(size) {}
    // The last element that is <= target, given that the first one is and that one past the end would have the value
    // `beyond` > target. `guess`: where to look first.
    absl::StatusOr<int64_t> FindLast(int64_t target, int64_t beyond, int64_t guess);
    absl::StatusOr<int64_t> At(int64_t index);

   private:
    absl::Status Fetch(int64_t first);

    const TokenFile& file_;
    int64_t at_, size_;
    int64_t first_ = 0;  // of the window
    std::vector<int64_t> window_;
  };
  absl::Status ContradictsItself(int64_t document) const;
  // Sequences from `first` on whose ids lie side by side up to byte `end`; fills sequence_ends_ with the byte after
  // each.
  absl::Status CheckSequences(int64_t first, int64_t end, int64_t document);

  const TokenFile& file_;
  Table pointers_, entries_;
  std::vector<int32_t> lengths_;
  std::vector<int64_t> sequence_ends_;  // bytes
  std::vector<int64_t> ends_;           // positions
  std::vector<char> bytes_;
};

}  // namespace photon
