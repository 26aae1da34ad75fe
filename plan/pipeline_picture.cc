#include "plan/pipeline_picture.h"

#include "absl/strings/str_cat.h"
#include "model/pipeline_plan.h"
#include "parallel/pipeline/cut.h"
#include "parallel/pipeline/draw.h"
#include "parallel/pipeline/simulate.h"

namespace photon {

absl::StatusOr<PipelinePicture> DrawPipeline(const RunConfig& config, const Machine& machine) {
  PHOTON_ASSIGN_OR_RETURN(const PipelinePlan plan, PlanPipeline(config));
  pipeline::Timeline timeline = pipeline::Simulate(plan.layout, plan.schedule);
  // Ranks of cp and tp share a microbatch.
  const double flops =
      machine.peak(config) * machine.figures.product_share * config.parallel().cp() * config.parallel().tp();
  for (std::vector<pipeline::Span>& rank : timeline.ranks) {
    for (pipeline::Span& span : rank) {
      span.begin /= flops;
      span.end /= flops;
    }
  }
  timeline.time /= flops;
  timeline.work /= flops;
  return PipelinePicture{
      .cut = pipeline::Describe(plan.layout),
      .svg = pipeline::DrawSvg(
          plan.layout, timeline,
          {.title = absl::StrCat(config.run_dir(), " (operations alone, near their peak)"), .unit = "s"})};
}

}  // namespace photon
