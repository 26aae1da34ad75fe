// photon plan
#include <iostream>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "configs/config.h"
#include "core/human.h"
#include "core/progress.h"
#include "launch/commands.h"
#include "launch/wanted_file.h"
#include "parallel/hosts.h"
#include "plan/cpu_machine.h"
#include "plan/pipeline_picture.h"
#include "plan/plan.h"
#include "plan/report.h"

namespace photon {
namespace {

struct PlanArguments {
  std::string config, device = "h200", layout, json, schedule;
  std::vector<std::string> overrides;
  int devices = 0, per_node = 0, dry_runs = PlanOptions().dry_runs, scale_to = 0;
  double peak = 0, links = 0, network = 0, memory_bandwidth = 0;
  int64_t memory = 0;  // 0: what the device has
  bool dry_run = false;
};

// "dp=2,tp=4,zero=1,micro=1": as overrides of the config.
absl::StatusOr<std::vector<std::string>> ParseLayout(const std::string& layout) {
  std::vector<std::string> overrides;
  std::set<std::string> named;
  for (const absl::string_view part : absl::StrSplit(layout, ',', absl::SkipEmpty())) {
    const std::vector<std::string> pair = absl::StrSplit(part, absl::MaxSplits('=', 1));
    const std::string& name = pair[0];
    int size = 0;
    if (pair.size() != 2 || !absl::SimpleAtoi(pair[1], &size)) {
      return absl::InvalidArgumentError(absl::StrCat("--layout: \"", part, "\" is not AXIS=SIZE, as in dp=2,tp=4"));
    }
    if (!named.insert(name).second) {
      return absl::InvalidArgumentError(absl::StrCat("--layout names ", name, " twice"));
    }
    if (name == "dp" || name == "pp" || name == "cp" || name == "tp") {
      overrides.push_back(absl::StrCat("parallel.", part));
    } else if (name == "micro") {
      overrides.push_back(absl::StrCat("training.micro_batch_sequences=", pair[1]));
    } else if (name == "zero" && (pair[1] == "0" || pair[1] == "1" || pair[1] == "2")) {
      static constexpr const char* kShards[] = {"NOTHING", "OPTIMIZER", "GRADIENTS"};
      overrides.push_back(absl::StrCat("parallel.shard=", kShards[pair[1][0] - '0']));
    } else {
      return absl::InvalidArgumentError(
          absl::StrCat("--layout: no \"", part, "\"; known: dp, pp, cp, tp, micro and zero=0, 1 or 2"));
    }
  }
  return overrides;
}

absl::StatusOr<Machine> MachineOf(const PlanArguments& a, const RunConfig& config) {
  Machine machine;
  if (a.device == "cpu") {
    if (a.peak + a.links + a.network + a.memory_bandwidth + a.per_node > 0) {
      return absl::InvalidArgumentError(
          "--device cpu is measured: leave out --peak, --links, --bandwidth, --memory-bandwidth and --per-node");
    }
    machine = MeasureCpu(a.devices, config.training().dtype() == "f32" ? DType::kF32 : DType::kBF16);
  } else {
    PHOTON_ASSIGN_OR_RETURN(dry::DeviceFigures figures, dry::FiguresOf(a.device));
    if (a.peak > 0) figures.peak_bf16 = a.peak * 1e12;
    if (a.links > 0) figures.link_bandwidth = a.links * 1e9;
    if (a.network > 0) figures.network_bandwidth = a.network * 1e9;
    if (a.memory_bandwidth > 0) figures.memory_bandwidth = a.memory_bandwidth * 1e9;
    if (a.per_node > 0) figures.devices_per_node = a.per_node;
    machine = Machine::Of(figures);
  }
  if (a.memory > 0) machine.figures.memory = static_cast<double>(a.memory);
  if (machine.for_tensors() > 0) return machine;
  return absl::InvalidArgumentError(absl::StrCat("--memory: ", HumanBytes(machine.reserved),
                                                 " are needed for the device's libraries alone; give more"));
}

// The cut of a pipeline in words, and its schedule as a picture.
absl::Status ShowPipeline(const RunConfig& config, const Machine& machine, WantedFile* schedule) {
  PHOTON_ASSIGN_OR_RETURN(const PipelinePicture picture, DrawPipeline(config, machine));
  std::cout << picture.cut;
  return schedule->Put(picture.svg);
}

absl::Status NoPipelineToDraw() {
  return absl::InvalidArgumentError("--schedule: this layout has no pipeline (pp is 1); nothing was drawn");
}

absl::Status Recommend(const PlanArguments& a, const RunConfig& config, const Machine& machine, WantedFile* json,
                       WantedFile* schedule) {
  ProgressLine line("layouts", /*shown=*/true, 0, ProgressLine::Unit::kThings);
  PHOTON_ASSIGN_OR_RETURN(
      const Plan plan,
      MakePlan(config, machine, {.devices = a.devices, .dry_runs = a.dry_runs, .progress = [&](int done, int total) {
                                   line.Update(done, total);
                                 }}));
  std::cout << Describe(plan, machine, a.devices) << "\n" << DescribeAssumptions(machine);
  PHOTON_RETURN_IF_ERROR(json->Put(ToJson(plan, machine)));
  if (plan.fitting.empty()) {
    // Where the model can't be shared by so many at all, that is why.
    RunConfig shared = config;
    SetSizes({.dp = a.devices}, shared.mutable_parallel());
    if (plan.considered == 0) PHOTON_RETURN_IF_ERROR(ValidateRun(shared, a.devices));
    return absl::InvalidArgumentError(absl::StrCat("no layout of ", a.devices,
                                                   " device(s) has room for this model and batch; use more devices, "
                                                   "smaller training.micro_batch_sequences or training.slice_tokens, "
                                                   "or training.recompute: true"));
  }
  if (plan.fitting.front().sizes.pp > 1) return ShowPipeline(plan.fitting.front().config, machine, schedule);
  return a.schedule.empty() ? absl::OkStatus() : NoPipelineToDraw();
}

void WarnOfCrossing(const LayoutSizes& sizes, const Machine& machine) {
  const std::string crossing = TensorParallelAcrossHosts({sizes.dp, sizes.pp, sizes.cp, sizes.tp},
                                                         PlannedHosts(sizes.ranks(), machine.figures.devices_per_node));
  if (!crossing.empty()) std::cerr << absl::StrCat("warning: ", crossing, "\n");
}

absl::Status RunPlan(const PlanArguments& a) {
  PHOTON_ASSIGN_OR_RETURN(std::vector<std::string> overrides, ParseLayout(a.layout));
  overrides.insert(overrides.begin(), a.overrides.begin(), a.overrides.end());
  PHOTON_ASSIGN_OR_RETURN(const RunConfig config, LoadRunConfig(a.config, overrides));
  PHOTON_RETURN_IF_ERROR(CheckDistinct({{"--json", a.json}, {"--schedule", a.schedule}}, {{"--config", a.config}}));
  PHOTON_ASSIGN_OR_RETURN(WantedFile json, WantedFile::Open(a.json));
  PHOTON_ASSIGN_OR_RETURN(WantedFile schedule, WantedFile::Open(a.schedule));
  PHOTON_ASSIGN_OR_RETURN(const Machine machine, MachineOf(a, config));
  if (a.scale_to > 0) {
    if (a.scale_to < a.devices) {
      return absl::InvalidArgumentError(absl::StrCat("--scale-to ", a.scale_to, " is less than --devices ", a.devices));
    }
    PHOTON_ASSIGN_OR_RETURN(const std::vector<Scaling> scaling, WeakScaling(config, machine, a.devices, a.scale_to));
    std::cout << Describe(scaling) << DescribeAssumptions(machine);
    return json.Put(ToJson(scaling));
  }
  if (!a.dry_run && a.layout.empty()) return Recommend(a, config, machine, &json, &schedule);
  if (!a.schedule.empty() && config.parallel().pp() == 1) return NoPipelineToDraw();
  PHOTON_ASSIGN_OR_RETURN(const Prediction prediction,
                          Predict(config, a.devices, machine, {.all_ranks = a.dry_run, .all_microbatches = true}));
  WarnOfCrossing(prediction.sizes, machine);
  if (a.dry_run) std::cout << DescribeRanks(prediction, /*most=*/8);
  std::cout << Describe(prediction, machine) << DescribeAssumptions(machine);
  if (prediction.sizes.pp > 1) PHOTON_RETURN_IF_ERROR(ShowPipeline(prediction.config, machine, &schedule));
  PHOTON_RETURN_IF_ERROR(json.Put(ToJson(prediction, machine)));
  return CheckMemory(prediction, machine);
}

}  // namespace

void AddPlanCommand(CLI::App& app, Run* chosen) {
  const auto a = std::make_shared<PlanArguments>();
  CLI::App& command = *AddCommand(app, "plan", "Predict memory and time of layouts, and recommend one", chosen,
                                  [a] { return RunPlan(*a); });
  command.add_option("--config", a->config, "The run: a text file as in configs/")->required();
  command.add_option("--devices", a->devices, "How many, all ranks together")
      ->required()
      ->check(Between(1, kMostRanks));
  command
      .add_option("--device", a->device,
                  absl::StrCat("What they are: ", absl::StrJoin(dry::KnownDevices(), ", "),
                               ", or cpu: this machine, measured, shared by all ranks"))
      ->capture_default_str();
  command.add_option("--memory", a->memory, "Of a device, e.g. 141GiB; default: what the device has")
      ->transform(Bytes());
  command.add_option("--layout", a->layout,
                     "Judge this layout instead: dp=2,tp=4 and also pp, cp, zero=0|1|2, micro=SEQUENCES");
  CLI::Option* const dry_run = command.add_flag(
      "--dry-run", a->dry_run,
      "Build every rank of the config's layout (or --layout's), make one step without computing, and check "
      "shapes, memory and that all calls between ranks match");
  CLI::Option* const scale_to =
      command
          .add_option("--scale-to", a->scale_to,
                      "Predict the config's layout on --devices, twice as many, .. up to so many devices")
          ->check(Between(1, kMostRanks))
          ->excludes(dry_run);
  command.add_option("--set", a->overrides, "FIELD=VALUE: overrides one field of the config (repeatable)")
      ->allow_extra_args(false);
  command.add_option("--peak", a->peak, "TFLOP/s of dense bf16 products")->check(Positive());
  command.add_option("--memory-bandwidth", a->memory_bandwidth, "GB/s of a device's memory")->check(Positive());
  command.add_option("--links", a->links, "GB/s that a device sends inside its node")->check(Positive());
  command.add_option("--bandwidth", a->network, "GB/s that a device sends to other nodes")->check(Positive());
  command.add_option("--per-node", a->per_node, "Devices of a node")->check(AtLeast(1));
  command.add_option("--dry-runs", a->dry_runs, "Layouts that are looked at closely")
      ->capture_default_str()
      ->check(AtLeast(1));
  command.add_option("--schedule", a->schedule, "Draw the pipeline's schedule into this file (SVG)")
      ->excludes(scale_to);
  command.add_option("--json", a->json, "Also write everything to this file");
}

}  // namespace photon
