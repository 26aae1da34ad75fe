#include "plan/report.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "configs/config.h"
#include "core/human.h"

namespace photon {
namespace {

using nlohmann::ordered_json;

constexpr double kGiB = 1 << 30;

const char* NameOf(MeshAxis axis) {
  static constexpr const char* kNames[] = {"dp", "pp", "cp", "tp"};
  return kNames[static_cast<int>(axis)];
}

std::string NameOf(AxisSet axes) {
  std::string name;
  for (int axis = 0; axis < kMeshAxes; ++axis) {
    const auto a = static_cast<MeshAxis>(axis);
    if (axes.contains(a)) absl::StrAppend(&name, name.empty() ? "" : " x ", NameOf(a));
  }
  return name;
}

// Without tensor parallelism kinds make no difference.
std::string KindsOf(const RunConfig& config) {
  if (config.parallel().tp() == 1) return "-";
  std::string kinds;
  const bool flat = config.model().levels_size() == 0;
  for (int l = 1; l <= std::max(config.model().levels_size(), 1); ++l) {
    const LevelLayout level = LayoutOfLevel(config.parallel(), l);
    absl::StrAppend(&kinds, l == 1 ? "" : ", ", absl::AsciiStrToLower(EncoderLayout::Kind_Name(level.encoder())));
    if (!flat) absl::StrAppend(&kinds, "/", absl::AsciiStrToLower(DecoderLayout::Kind_Name(level.decoder())));
  }
  return kinds;
}

int ZeroStage(const ParallelConfig& parallel) { return static_cast<int>(parallel.shard()); }

std::vector<std::pair<const char*, int64_t>> MemoryByKind(const MemoryUse& memory) {
  return {{"masters", memory.masters}, {"moments", memory.moments}, {"gradients", memory.gradients},
          {"copies", memory.copies},   {"tables", memory.tables},   {"activations", memory.activations}};
}

// What a user adds to the run's config for this layout.
std::string ConfigBlock(const Prediction& p) {
  ParallelConfig parallel = p.config.parallel();
  const ParallelConfig defaults;
  if (parallel.collective_timeout_s() == defaults.collective_timeout_s()) parallel.clear_collective_timeout_s();
  if (parallel.bucket_mb() == defaults.bucket_mb()) parallel.clear_bucket_mb();
  if (!parallel.overlap_reduction()) parallel.clear_overlap_reduction();
  if (parallel.pp() == 1) parallel.clear_pipeline();
  if (parallel.tp() == 1) parallel.clear_vocabulary();
  std::string text = absl::StrCat("  training { micro_batch_sequences: ", p.config.training().micro_batch_sequences(),
                                  " }\n  parallel { ");
  std::string block = ToText(parallel);
  for (char& c : block) c = c == '\n' ? ' ' : c;
  while (absl::StrContains(block, "  ")) block.replace(block.find("  "), 2, " ");
  return absl::StrCat(text, block, "}\n");
}

ordered_json JsonOf(const Prediction& p, const Machine& machine) {
  ordered_json memory, axes;
  const RankUse& largest = p.largest();
  for (const auto& [kind, bytes] : MemoryByKind(largest.memory)) memory[kind] = bytes;
  for (const auto& [set, use] : p.slowest().axes) {
    axes[NameOf(set)] = {
        {"bytes_sent", use.bytes_sent}, {"communicating_s", use.communicating}, {"waiting_s", use.waiting}};
  }
  return {{"dp", p.sizes.dp},
          {"pp", p.sizes.pp},
          {"cp", p.sizes.cp},
          {"tp", p.sizes.tp},
          {"levels", KindsOf(p.config)},
          {"zero", ZeroStage(p.config.parallel())},
          {"micro_batch_sequences", p.config.training().micro_batch_sequences()},
          {"fits", p.fits(machine)},
          {"step_s", p.run.step_s},
          {"tokens_per_s", p.tokens_per_s},
          {"mfu", p.mfu},
          {"bubble", p.bubble},
          {"largest_rank", largest.rank},
          {"parameters_of_rank", largest.parameters},
          {"memory", largest.memory.peak()},
          {"memory_by_kind", memory},
          {"communication", axes},
          {"parallel", ToText(p.config.parallel())}};
}

std::string Line(const Prediction& p) {
  int64_t sent = 0;
  for (const auto& [axes, use] : p.slowest().axes) sent += use.bytes_sent;
  return absl::StrFormat("%4d%4d%4d%4d  %-32s%5d%6d%10.4g%8.1f%8.1f%10.2f%11.4g\n", p.sizes.dp, p.sizes.pp, p.sizes.cp,
                         p.sizes.tp, KindsOf(p.config), ZeroStage(p.config.parallel()),
                         p.config.training().micro_batch_sequences(), p.run.step_s, 100 * p.mfu, 100 * p.bubble,
                         static_cast<double>(p.largest().memory.peak()) / kGiB, static_cast<double>(sent) / 1e9);
}

constexpr char kHeader[] =
    "  dp  pp  cp  tp  kinds of levels (encoder/decoder) ZeRO micro    step s   MFU %  idle %   GiB/rank  GB sent\n";

}  // namespace

std::string DescribeAssumptions(const Machine& machine) {
  const dry::DeviceFigures& f = machine.figures;
  return absl::StrFormat(
      "Assumptions (%s: %s):\n"
      "  peak %.1f TFLOP/s in bf16, %.1f in f32; products reach %.0f %% of it at most, long attention %.0f %%\n"
      "  memory %.1f GB, of which %.1f GB are not for tensors; %.2f TB/s, of which %.0f %% are reached\n"
      "  links: %.0f GB/s inside a node of %d, %.0f GB/s between nodes, each direction and device, %.0f %% reached;\n"
      "  latency %.1f us inside a node, %.1f us between; %.1f us an operation at least\n"
      "  reductions overlap, with parallel.overlap_reduction, the last microbatch's backward pass (with ZeRO-2 all of "
      "them);\n"
      "  nothing else does; loading data takes no time\n",
      f.name, f.source, f.peak_bf16 / 1e12, f.peak_f32 / 1e12, 100 * f.product_share, 100 * f.attention_share,
      f.memory / 1e9, machine.reserved / 1e9, f.memory_bandwidth / 1e12, 100 * f.bandwidth_share,
      f.link_bandwidth / 1e9, f.devices_per_node, f.network_bandwidth / 1e9, 100 * f.bandwidth_share,
      1e6 * f.link_latency, 1e6 * f.network_latency, 1e6 * f.launch);
}

std::string Describe(const Prediction& p, const Machine& machine) {
  const RankUse& largest = p.largest();
  const int64_t tokens = int64_t{p.config.training().batch_sequences()} * p.config.data().sequence_length();
  std::string text = absl::StrFormat(
      "%s; %sZeRO-%d; microbatches of %d sequence(s)\n"
      "  step %.4g s, %s tokens/s, MFU %.1f %%, idle in the pipeline %.1f %%; %.2f GFLOP a token\n",
      p.sizes.ToString(), p.sizes.tp == 1 ? "" : absl::StrCat("levels ", KindsOf(p.config), "; "),
      ZeroStage(p.config.parallel()), p.config.training().micro_batch_sequences(), p.run.step_s,
      HumanCount(static_cast<int64_t>(p.tokens_per_s)), 100 * p.mfu, 100 * p.bubble,
      p.model_flops / static_cast<double>(tokens) / 1e9);
  absl::StrAppendFormat(&text, "  memory of rank %d, the largest, with %s parameters: %.4g GiB of %.2f (", largest.rank,
                        HumanCount(largest.parameters), static_cast<double>(largest.memory.peak()) / kGiB,
                        machine.for_tensors() / kGiB);
  bool first = true;
  for (const auto& [kind, bytes] : MemoryByKind(largest.memory)) {
    absl::StrAppendFormat(&text, "%s%s %.3g", first ? "" : ", ", kind, static_cast<double>(bytes) / kGiB);
    first = false;
  }
  text += ")\n";
  const RankUse& slowest = p.slowest();
  absl::StrAppendFormat(&text, "  time of rank %d, the slowest: computing %.4g s\n", slowest.rank, slowest.computing);
  for (const auto& [axes, use] : slowest.axes) {
    absl::StrAppendFormat(&text, "    %-14s %9.4g GB sent, %.4g s moving, %.4g s waiting\n", NameOf(axes),
                          static_cast<double>(use.bytes_sent) / 1e9, use.communicating, use.waiting);
  }
  return text + ConfigBlock(p);
}

std::string Describe(const Plan& plan, const Machine& machine, int devices) {
  std::string text;
  if (plan.fitting.empty()) {
    absl::StrAppendFormat(&text, "Nothing fits %d x %s with %.1f GiB for tensors.\n", devices, machine.figures.name,
                          machine.for_tensors() / kGiB);
  } else {
    absl::StrAppend(&text, "Recommended: ", Describe(plan.fitting.front(), machine));
  }
  if (plan.fitting.size() > 1) absl::StrAppend(&text, "\nAlternatives, the fastest first:\n", kHeader);
  for (size_t i = 1; i < plan.fitting.size(); ++i) text += Line(plan.fitting[i]);
  if (!plan.too_large.empty()) absl::StrAppend(&text, "\nToo large:\n", kHeader);
  for (const Prediction& p : plan.too_large) text += Line(p);
  return text;
}

std::string DescribeRanks(const Prediction& p, int most) {
  std::vector<const RankUse*> ranks;
  for (const RankUse& rank : p.run.ranks) ranks.push_back(&rank);
  std::stable_sort(ranks.begin(), ranks.end(),
                   [](const RankUse* a, const RankUse* b) { return a->memory.peak() > b->memory.peak(); });
  std::string text = absl::StrCat(HumanCount(static_cast<int64_t>(ranks.size())), " ranks built, all their ",
                                  HumanCount(p.run.calls), " calls to each other match. The largest:\n");
  for (size_t i = 0; i < std::min<size_t>(ranks.size(), most); ++i) {
    const RankUse& rank = *ranks[i];
    absl::StrAppendFormat(&text, "  rank %4d [dp %d pp %d cp %d tp %d] %8.2f GiB, %s parameters\n", rank.rank,
                          rank.at.index[0], rank.at.index[1], rank.at.index[2], rank.at.index[3],
                          static_cast<double>(rank.memory.peak()) / kGiB, HumanCount(rank.parameters));
  }
  return text;
}

std::string Describe(const std::vector<Scaling>& scaling) {
  std::string text =
      "Weak scaling (replicas and batch grow alike):\n   devices    step s   tokens/s a device, of the first's\n";
  for (const Scaling& point : scaling) {
    absl::StrAppendFormat(&text, "%10d%10.4g%10.1f %%\n", point.devices, point.step_s, 100 * point.efficiency);
  }
  return text;
}

std::string ToJson(const Prediction& prediction, const Machine& machine) {
  return JsonOf(prediction, machine).dump(2) + "\n";
}

std::string ToJson(const Plan& plan, const Machine& machine) {
  ordered_json json = {{"considered", plan.considered},
                       {"fitting", ordered_json::array()},
                       {"too_large", ordered_json::array()},
                       {"assumptions", DescribeAssumptions(machine)}};
  for (const Prediction& p : plan.fitting) json["fitting"].push_back(JsonOf(p, machine));
  for (const Prediction& p : plan.too_large) json["too_large"].push_back(JsonOf(p, machine));
  return json.dump(2) + "\n";
}

std::string ToJson(const std::vector<Scaling>& scaling) {
  ordered_json json = ordered_json::array();
  for (const Scaling& point : scaling) {
    json.push_back({{"devices", point.devices}, {"step_s", point.step_s}, {"efficiency", point.efficiency}});
  }
  return json.dump(2) + "\n";
}

}  // namespace photon
