#include "checkpoint/weights.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "checkpoint/manifest.h"

namespace photon {

absl::Status CheckWeight(const CheckpointReader& reader, absl::string_view name, const Shape& shape) {
  const ManifestTensor* stored = reader.Find(name);
  if (stored != nullptr && stored->section() == kModelSection && GlobalShape(*stored) == shape) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(
      absl::StrCat(reader.dir(), ": no tensor ", name, " ", shape.ToString(),
                   "; the checkpoint's tensors don't fit its own config: restore it or use another one"));
}

absl::Status ReadWeight(const CheckpointReader& reader, absl::string_view name, absl::Span<float> out) {
  const ManifestTensor& stored = *reader.Find(name);
  const Shape shape = GlobalShape(stored);
  const Region whole = {std::vector<int64_t>(shape.rank(), 0), shape};
  if (stored.dtype() == Name(DType::kF32)) {
    return reader.Read(name, whole, Tensor::Wrap(out.data(), shape, DType::kF32));
  }
  if (stored.dtype() != Name(DType::kF64)) {
    return absl::InvalidArgumentError(absl::StrCat("tensor ", name, " is ", stored.dtype(), ", no weight"));
  }
  std::vector<double> wide(out.size());
  PHOTON_RETURN_IF_ERROR(reader.Read(name, whole, Tensor::Wrap(wide.data(), shape, DType::kF64)));
  std::copy(wide.begin(), wide.end(), out.begin());
  return absl::OkStatus();
}

}  // namespace photon
