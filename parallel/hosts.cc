#include "parallel/hosts.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "absl/strings/str_cat.h"

namespace photon {
namespace {

// "0-3, 6"
std::string Ranges(const std::vector<int>& ranks) {
  std::string text;
  for (size_t i = 0; i < ranks.size();) {
    size_t end = i + 1;
    while (end < ranks.size() && ranks[end] == ranks[end - 1] + 1) ++end;
    absl::StrAppend(&text, text.empty() ? "" : ", ", ranks[i]);
    if (end - i > 1) absl::StrAppend(&text, "-", ranks[end - 1]);
    i = end;
  }
  return text;
}

std::vector<std::string> Distinct(std::vector<std::string> names) {  // in the order of first mention
  std::set<std::string> seen;
  std::vector<std::string> distinct;
  for (std::string& name : names) {
    if (seen.insert(name).second) distinct.push_back(std::move(name));
  }
  return distinct;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> GatherHosts(Communicator& world) {
  constexpr int64_t kBytes = 64;  // HOST_NAME_MAX
  char mine[kBytes] = {};
  gethostname(mine, kBytes - 1);
  std::vector<char> all(kBytes * world.size());
  PHOTON_RETURN_IF_ERROR(world.AllGather("hosts", Tensor::Wrap(mine, {kBytes}, DType::kU8),
                                         Tensor::Wrap(all.data(), {kBytes * world.size()}, DType::kU8)));
  std::vector<std::string> hosts;
  for (int r = 0; r < world.size(); ++r) hosts.emplace_back(&all[r * kBytes]);
  return hosts;
}

std::vector<std::string> PlannedHosts(int ranks, int per_host) {
  std::vector<std::string> hosts;
  for (int rank = 0; rank < ranks; ++rank) hosts.push_back(absl::StrCat("node ", rank / per_host));
  return hosts;
}

std::string DescribeRanks(const std::vector<int>& ranks, const std::vector<std::string>& hosts) {
  std::vector<std::string> names;
  for (const int rank : ranks) names.push_back(hosts[rank]);
  names = Distinct(std::move(names));
  return absl::StrCat(ranks.size() == 1 ? "rank " : "ranks ", Ranges(ranks), " (",
                      names.size() == 1 ? names[0] : absl::StrCat(names.size(), " hosts"), ")");
}

std::string DescribeHosts(const std::vector<std::string>& hosts) {
  constexpr size_t kListed = 16;
  const std::vector<std::string> names = Distinct(hosts);
  if (names.size() > kListed) return absl::StrCat(hosts.size(), " ranks on ", names.size(), " hosts");
  std::string text = hosts.size() == 1 ? "rank " : "ranks ";
  for (const std::string& name : names) {
    std::vector<int> ranks;
    for (size_t r = 0; r < hosts.size(); ++r) {
      if (hosts[r] == name) ranks.push_back(static_cast<int>(r));
    }
    absl::StrAppend(&text, &name == &names[0] ? "" : ", ", Ranges(ranks), " on ", name);
  }
  return text;
}

std::string TensorParallelAcrossHosts(const std::array<int, kMeshAxes>& sizes, const std::vector<std::string>& hosts) {
  const int tp = sizes[static_cast<int>(MeshAxis::kTp)];
  for (size_t first = 0; first < hosts.size(); first += tp) {
    for (size_t r = first; r < std::min(first + tp, hosts.size()); ++r) {
      if (hosts[r] == hosts[first]) continue;
      const bool fits = std::count(hosts.begin(), hosts.end(), hosts[first]) >= tp;
      return absl::StrCat("parallel.tp = ", tp, " crosses machines: rank ", first, " on ", hosts[first], " and rank ",
                          r, " on ", hosts[r], " exchange in every layer, over the network. ",
                          fits ? "Start the ranks machine by machine, a multiple of "
                               : "Make parallel.tp smaller, or start a multiple of ",
                          tp, " on each (mpirun --map-by ppr:", tp,
                          ":node; srun --distribution=block --ntasks-per-node=", tp, ")");
    }
  }
  return "";
}

}  // namespace photon
