#include "train/train.h"

#include <spdlog/spdlog.h>

#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "configs/config.h"
#include "configs/validate_layout.h"
#include "model/pipeline_plan.h"
#include "parallel/device_group.h"
#include "parallel/hosts.h"
#include "parallel/roll_call.h"
#include "parallel/watchdog.h"
#include "train/run_inputs.h"
#include "train/training_run.h"

namespace photon {

double StartTimeout(const RunConfig& config) {
  const double asked = config.parallel().collective_timeout_s();
  return asked > 0 ? asked : ParallelConfig().collective_timeout_s();
}

absl::Status Train(const RunConfig& written, const TrainOptions& options, OpenedDevice& device,
                   std::unique_ptr<Communicator> job) {
  spdlog::set_pattern("%H:%M:%S %v");
  if (job->rank() != 0) spdlog::set_level(spdlog::level::warn);
  const double timeout = StartTimeout(written);
  std::vector<std::string> hosts;
  std::unique_ptr<RollCall> roll_call;
  {
    const Watchdog watchdog({job.get()}, timeout);
    PHOTON_ASSIGN_OR_RETURN(hosts, GatherHosts(*job));
    PHOTON_ASSIGN_OR_RETURN(roll_call, RollCallOf(*job, hosts));
  }
  PHOTON_ASSIGN_OR_RETURN(const std::unique_ptr<Communicator> world,
                          DeviceGroup(std::move(job), device, device.MakeContext(nullptr)));
  std::optional<Watchdog> starting(std::in_place, std::vector<Communicator*>{world.get()}, timeout);
  PHOTON_ASSIGN_OR_RETURN(const RunConfig requested, WithModelOf(options.init_from, *world, written));
  PHOTON_RETURN_IF_ERROR(ValidateRun(requested, world->size()));
  const RunConfig config = Resolved(requested, world->size());
  if (world->name() == "nccl") PHOTON_RETURN_IF_ERROR(CheckOverlapOnGpus(config.parallel(), world->size()));
  std::shared_ptr<const PipelinePlan> plan;
  if (config.parallel().pp() > 1) {
    PHOTON_ASSIGN_OR_RETURN(PipelinePlan made, PlanPipeline(config));
    plan = std::make_shared<const PipelinePlan>(std::move(made));
  }
  PHOTON_ASSIGN_OR_RETURN(const Mesh mesh, Mesh::Create(*world, config.parallel()));
  std::vector<Communicator*> watched = mesh.groups();
  watched.push_back(world.get());
  starting.reset();  // from here on, with the groups and the roll call
  const Watchdog watchdog(watched, config.parallel().collective_timeout_s(), Watchdog::AbortJob, std::move(roll_call));
  if (world->rank() == 0 && world->size() > 1) {
    spdlog::info("{}", DescribeHosts(hosts));
    const std::string crossing = TensorParallelAcrossHosts(mesh.at().size, hosts);
    if (!crossing.empty()) spdlog::warn("{}", crossing);
  }
  PHOTON_ASSIGN_OR_RETURN(OpenedData data, OpenRunData(*world, config, options.resume, options.init_from));
  // Parameters that tensor parallelism leaves whole are updated by each of its ranks from its own sums: the ranks must
  // sum alike, which algorithms that each has timed for itself need not.
  device.TimeProducts(!config.training().deterministic() && config.parallel().tp() == 1);
  if (config.training().deterministic()) {
    PHOTON_RETURN_IF_ERROR(AgreeOn(*world, "the order of sums", CheckSumOrder(*world, std::getenv("NCCL_ALGO"))));
  }
  TrainingRun run(config, ForAnyLayout(requested, config), mesh, std::move(data), device, std::move(plan));
  return run.Run(options);
}

}  // namespace photon
