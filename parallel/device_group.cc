#include "parallel/device_group.h"

#include <spdlog/spdlog.h>

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "core/cuda_module.h"
#include "parallel/staged.h"

namespace photon {
namespace {

// Empty where every rank has a device of its own, else which ranks share one.
absl::StatusOr<std::string> SharedDevice(Communicator& host, const std::string& identity) {
  constexpr int64_t kBytes = 64;
  char mine[kBytes] = {};
  std::memcpy(mine, identity.data(), std::min<size_t>(identity.size(), kBytes));
  std::vector<char> all(kBytes * host.size());
  PHOTON_RETURN_IF_ERROR(host.AllGather("devices", Tensor::Wrap(mine, {kBytes}, DType::kU8),
                                        Tensor::Wrap(all.data(), {kBytes * host.size()}, DType::kU8)));
  std::map<std::string, int> owner;
  for (int r = 0; r < host.size(); ++r) {
    const auto [first, added] = owner.try_emplace(std::string(&all[r * kBytes], kBytes), r);
    if (!added) return absl::StrCat("ranks ", first->second, " and ", r, " share a GPU");
  }
  return std::string();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Communicator>> DeviceGroup(std::unique_ptr<Communicator> host,
                                                          const OpenedDevice& device, const Context& context) {
  // All or none: ranks on GPUs and on CPUs don't compute alike.
  PHOTON_ASSIGN_OR_RETURN(
      const double gpus, AllReduceScalar(*host, "devices", device.device().type == DeviceType::kCuda, Reduction::kSum));
  if (gpus == 0) return host;
  if (gpus != host->size()) {
    return absl::UnavailableError(absl::StrCat(host->size() - gpus, " of ", host->size(),
                                               " ranks have no GPU; start with --device cuda, which tells why, or with "
                                               "--device cpu"));
  }
  PHOTON_ASSIGN_OR_RETURN(std::string reason, SharedDevice(*host, device.Identity()));
  if (reason.empty() && host->size() > 1) {
    const absl::StatusOr<const cuda::Module*> module = LoadCudaModule();
    const absl::Status usable = module.ok() ? (*module)->check_nccl() : module.status();
    if (const absl::Status agreed = AgreeOn(*host, "NCCL", usable); !agreed.ok())
      reason = std::string(agreed.message());
    if (reason.empty()) return (*module)->open_nccl(std::move(host), context);
  }
  if (host->rank() == 0 && !reason.empty()) {
    spdlog::warn("GPUs exchange tensors by way of the host, which is slow: {}", reason);
  }
  return StagedCommunicator(std::move(host), context);
}

absl::Status CheckSumOrder(const Communicator& group, const char* nccl_algo) {
  if (group.name() != "nccl" || group.size() <= 2) return absl::OkStatus();
  const std::string chosen = nccl_algo == nullptr ? "" : absl::AsciiStrToLower(nccl_algo);
  bool fixed = true;
  for (const absl::string_view algorithm : absl::StrSplit(chosen, ',')) {
    fixed = fixed && (algorithm == "ring" || algorithm == "tree");
  }
  if (fixed) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "training.deterministic: with NCCL_ALGO ", chosen.empty() ? "not set" : absl::StrCat("= \"", nccl_algo, "\""),
      ", NCCL may let the network's switches add up, in an order that nobody promises; set NCCL_ALGO=Ring or "
      "NCCL_ALGO=Tree on all ranks"));
}

}  // namespace photon
