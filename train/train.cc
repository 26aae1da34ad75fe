#include "train/train.h"

#include <spdlog/spdlog.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "configs/config.h"
#include "model/pipeline_plan.h"
#include "parallel/device_group.h"
#include "parallel/hosts.h"
#include "parallel/roll_call.h"
#include "parallel/watchdog.h"
#include "train/run_inputs.h"
#include "train/training_run.h"

namespace photon {

absl::Status Train(const RunConfig& written, const TrainOptions& options, OpenedDevice& device,
                   std::unique_ptr<Communicator> job) {
  spdlog::set_pattern("%H:%M:%S %v");
  if (job->rank() != 0) spdlog::set_level(spdlog::level::warn);
  PHOTON_ASSIGN_OR_RETURN(const std::vector<std::string> hosts, GatherHosts(*job));
  PHOTON_ASSIGN_OR_RETURN(std::unique_ptr<RollCall> roll_call, RollCallOf(*job, hosts));
  PHOTON_ASSIGN_OR_RETURN(const std::unique_ptr<Communicator> world,
                          DeviceGroup(std::move(job), device, device.MakeContext(nullptr)));
  PHOTON_ASSIGN_OR_RETURN(const RunConfig requested, WithModelOf(options.init_from, *world, written));
  PHOTON_RETURN_IF_ERROR(ValidateRun(requested, world->size()));
  const RunConfig config = Resolved(requested, world->size());
  if (config.parallel().overlap_reduction() && world->name() == "nccl" && world->size() > config.parallel().dp()) {
    return absl::FailedPreconditionError(
        "parallel.overlap_reduction: with cp, tp or pp on GPUs, reductions and the exchanges inside the model may wait "
        "for each other; set it to false");
  }
  std::shared_ptr<const PipelinePlan> plan;
  if (config.parallel().pp() > 1) {
    PHOTON_ASSIGN_OR_RETURN(PipelinePlan made, PlanPipeline(config));
    plan = std::make_shared<const PipelinePlan>(std::move(made));
  }
  PHOTON_ASSIGN_OR_RETURN(const Mesh mesh, Mesh::Create(*world, config.parallel()));
  std::vector<Communicator*> watched = mesh.groups();
  watched.push_back(world.get());
  const Watchdog watchdog(watched, config.parallel().collective_timeout_s(), Watchdog::AbortJob, std::move(roll_call));
  if (world->rank() == 0 && world->size() > 1) {
    spdlog::info("{}", DescribeHosts(hosts));
    const std::string crossing = TensorParallelAcrossHosts(mesh.at().size, hosts);
    if (!crossing.empty()) spdlog::warn("{}", crossing);
  }
  PHOTON_ASSIGN_OR_RETURN(OpenedData data, OpenRunData(*world, config, options.resume, options.init_from));
  device.TimeProducts(!config.training().deterministic());
  if (config.training().deterministic()) {
    PHOTON_RETURN_IF_ERROR(AgreeOn(*world, "the order of sums", CheckSumOrder(*world, std::getenv("NCCL_ALGO"))));
  }
  TrainingRun run(config, ForAnyLayout(requested, config), mesh, std::move(data), device, std::move(plan));
  return run.Run(options);
}

}  // namespace photon
