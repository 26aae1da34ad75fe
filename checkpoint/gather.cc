#include "checkpoint/gather.h"

#include <cstring>

#include "core/tensor.h"

namespace photon {

absl::StatusOr<std::vector<std::string>> GatherStrings(Communicator& comm, absl::string_view what,
                                                       const std::string& mine) {
  const int ranks = comm.size();
  int64_t length = mine.size();
  std::vector<int64_t> lengths(ranks);
  PHOTON_RETURN_IF_ERROR(comm.AllGather(what, Tensor::Wrap(&length, Shape{1}, DType::kI64),
                                        Tensor::Wrap(lengths.data(), Shape{ranks}, DType::kI64)));
  int64_t longest = 1;
  for (int64_t n : lengths) longest = std::max(longest, n);
  std::vector<uint8_t> padded(longest), all(longest * ranks);
  memcpy(padded.data(), mine.data(), mine.size());
  PHOTON_RETURN_IF_ERROR(comm.AllGather(what, Tensor::Wrap(padded.data(), Shape{longest}, DType::kU8),
                                        Tensor::Wrap(all.data(), Shape{longest * ranks}, DType::kU8)));
  std::vector<std::string> strings;
  for (int r = 0; r < ranks; ++r) {
    strings.emplace_back(reinterpret_cast<const char*>(all.data()) + r * longest, lengths[r]);
  }
  return strings;
}

}  // namespace photon
