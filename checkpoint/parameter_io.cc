#include "checkpoint/parameter_io.h"

#include "absl/strings/str_cat.h"
#include "checkpoint/manifest.h"
#include "core/ops/memory.h"

namespace photon {

absl::Status LoadTensor(const CheckpointReader& reader, const Context& context, const std::string& name,
                        const Shape& global_shape, const Region& region, const Tensor& tensor) {
  const ManifestTensor* entry = reader.Find(name);
  if (entry == nullptr) {
    return absl::FailedPreconditionError(
        absl::StrCat(reader.dir(), ": no tensor ", name, ": this is a checkpoint of another model"));
  }
  if (const Shape found = GlobalShape(*entry); !(found == global_shape)) {
    return absl::FailedPreconditionError(absl::StrCat(reader.dir(), ": ", name, " is ", found.ToString(),
                                                      ", the model wants ", global_shape.ToString(),
                                                      ": this is a checkpoint of another model"));
  }
  if (tensor.device().type == DeviceType::kCpu) return reader.Read(name, region, tensor);
  std::vector<char> bytes(tensor.bytes());
  PHOTON_RETURN_IF_ERROR(reader.Read(name, region, Tensor::Wrap(bytes.data(), tensor.shape(), tensor.dtype())));
  ops::CopyFromHost(context, bytes.data(), tensor);
  return absl::OkStatus();
}

absl::Status LoadParameters(const CheckpointReader& reader, const Context& context, ParameterSet& parameters) {
  for (const std::unique_ptr<Parameter>& p : parameters.parameters()) {
    PHOTON_RETURN_IF_ERROR(LoadTensor(reader, context, p->spec.name, p->spec.shape, p->local, p->master));
  }
  parameters.RefreshCompute(context);
  return absl::OkStatus();
}

}  // namespace photon
