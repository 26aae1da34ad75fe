#include "train/gather_parameters.h"

#include "absl/strings/str_cat.h"
#include "core/profiler.h"

namespace photon {

absl::Status GatherParameters(const Context& context, const ParameterSet& parameters, const Mesh& mesh) {
  if (!parameters.sharded()) return absl::OkStatus();
  const Scope scope(context, "gather parameters");
  const FlatLayout& layout = parameters.layout();
  for (int b = 0; b < static_cast<int>(layout.buckets.size()); ++b) {
    Communicator& group = mesh.group(layout.classes[layout.buckets[b].in_class].summed);
    if (group.size() == 1) continue;
    PHOTON_RETURN_IF_ERROR(
        group.AllGather(absl::StrCat("parameters of bucket ", b), parameters.OwnComputed(b), parameters.Computed(b)));
  }
  return absl::OkStatus();
}

}  // namespace photon
