// A checkpoint's weights as f32, whole, for writers of other formats.
#pragma once

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "checkpoint/store.h"
#include "core/shape.h"
#include "core/status.h"

namespace photon {

// The section of a checkpoint that weights are in.
inline constexpr char kModelSection[] = "model";

// kFailedPrecondition where the checkpoint has no weight of that name and shape.
absl::Status CheckWeight(const CheckpointReader& reader, absl::string_view name, const Shape& shape);

// Reads tensor `name`, which the checkpoint has, as f32 (f64 is rounded). `out` holds its elements.
absl::Status ReadWeight(const CheckpointReader& reader, absl::string_view name, absl::Span<float> out);

}  // namespace photon
