// Runs a schedule: the one loop that all forms and orders of pipelines go through.
//
// Called by every rank of a pipeline with its own list; the calling thread computes and exchanges. Values that stay on
// their rank are handed over without a copy.
#pragma once

#include <vector>

#include "core/context.h"
#include "parallel/communicator.h"
#include "parallel/pipeline/simulate.h"
#include "parallel/stage.h"

namespace photon::pipeline {

// A tensor of an edge, of every microbatch. Its gradient has the same shape and type.
struct TensorForm {
  Shape shape;
  DType dtype = DType::kF32;
};
using EdgeForms = std::vector<std::vector<TensorForm>>;  // [edge of the layout][tensor]

// Runs rank `pp`.rank()'s part of one step and waits until its messages have gone. Returns what it did when, in seconds
// from its beginning (what is computed, and receives): draw.h draws it. `schedule` has passed CheckSchedule; `forms`
// and layout are the same on all ranks. Gradients of several readers add up in the order of the list.
//
// Errors: kInternal where ranks, forms or what the stage returns do not fit the layout; else what a communicator
// reports: with the rank, the instruction and the microbatch. Nobody can go on after one: the caller ends the job.
absl::StatusOr<std::vector<Span>> RunSchedule(const Layout& layout, const Schedule& schedule, const EdgeForms& forms,
                                              Communicator& pp, const Context& context, Stage& stage);

}  // namespace photon::pipeline
