// Local windows of one level's decoder, run slot by slot with a cache each: the only way in which any generation mode
// decodes. A window starts empty and is dropped at its end; its cache is reused by the next.
#pragma once

#include "absl/types/span.h"
#include "inference/step.h"
#include "model/photon.h"

namespace photon {

using Windows = absl::Span<KvCache* const>;

// An empty cache for windows of level l: room for R_l + C_l - 1 positions.
KvCache NewWindow(const Context& context, const PhotonModel& model, int l);

// Begins a window per row of `sources` (S^l, [M, D]), forgetting what the caches held: the outputs at the first slot,
// Xh^(l-1) of each unit's first part, [M, D].
Step::Value BeginWindows(Step& step, const Context& context, const PhotonModel& model, int l, Step::Value sources,
                         Windows windows);

// Feeds each window one content ([M, D]): the outputs at its next slot, [M, D]. Windows may be at different slots, each
// begun before.
Step::Value StepWindows(Step& step, const Context& context, const PhotonModel& model, int l, Step::Value contents,
                        Windows windows);

}  // namespace photon
