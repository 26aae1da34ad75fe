// The shapes of the streams that a pipeline of a model sends.
#pragma once

#include "model/model_input.h"
#include "parallel/pipeline/executor.h"

namespace photon {

// Of what goes over the layout's edges for microbatches like `input`.
pipeline::EdgeForms FormsOf(const LanguageModel& model, const ModelInput& input, const pipeline::Layout& layout);

}  // namespace photon
