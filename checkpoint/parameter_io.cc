#include "checkpoint/parameter_io.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "checkpoint/manifest.h"
#include "core/ops/memory.h"

namespace photon {
namespace {

void Convert(const Tensor& from, const Tensor& to) {
  VisitFloat(from.dtype(), [&](auto tag) {
    using From = decltype(tag);
    VisitFloat(to.dtype(), [&](auto other) {
      using To = decltype(other);
      std::transform(from.data<From>(), from.data<From>() + from.elements(), to.data<To>(),
                     [](From value) { return To(static_cast<AccumulateType<To>>(value)); });
    });
  });
}

}  // namespace

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
  DType stored = tensor.dtype();
  PHOTON_CHECK(ParseDType(entry->dtype(), &stored)) << entry->dtype();  // as the manifest was checked to be
  const auto floating = [](DType type) { return type == DType::kF32 || type == DType::kF64; };
  const bool converts = stored != tensor.dtype() && floating(stored) && floating(tensor.dtype());
  const bool on_host = tensor.device().type == DeviceType::kCpu;
  if (!converts && (on_host || stored != tensor.dtype())) return reader.Read(name, region, tensor);

  std::vector<char> bytes(tensor.elements() * ByteSize(stored));
  Tensor source = Tensor::Wrap(bytes.data(), tensor.shape(), stored);
  PHOTON_RETURN_IF_ERROR(reader.Read(name, region, source));
  std::vector<char> converted(converts && !on_host ? tensor.bytes() : 0);
  if (converts) {
    const Tensor to = on_host ? tensor : Tensor::Wrap(converted.data(), tensor.shape(), tensor.dtype());
    Convert(source, to);
    source = to;
  }
  if (!on_host) ops::CopyFromHost(context, source.raw(), tensor);
  return absl::OkStatus();
}

absl::Status LoadParameters(const CheckpointReader& reader, const Context& context, ParameterSet& parameters) {
  for (const std::unique_ptr<Parameter>& p : parameters.parameters()) {
    const auto load = [&](const Tensor& to) {
      return LoadTensor(reader, context, p->spec.name, p->spec.shape, p->local, to);
    };
    if (p->master.defined()) {
      PHOTON_RETURN_IF_ERROR(load(p->master));
      continue;
    }
    // Each rank makes the compute copy from the whole: no rank waits for another's shard.
    std::vector<char> bytes(p->elements() * ByteSize(parameters.options().master));
    const Tensor values = Tensor::Wrap(bytes.data(), p->local.shape, parameters.options().master);
    PHOTON_RETURN_IF_ERROR(load(values));
    parameters.Set(context, *p, values);
  }
  parameters.RefreshCompute(context);
  return absl::OkStatus();
}

}  // namespace photon
