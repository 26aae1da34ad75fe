// The models that a study compares: three kinds from the same modules, at sizes at which they have about as many
// parameters, as in the paper (arXiv 2512.20687, section 4). The flat model's layers are shared out: Block gets half of
// them in its encoder and half in its decoder, PHOTON a quarter in each of E1, E2, D2, D1.
//
// What comes on top is Block's converter (2 D^2) and its encoder's embedding (V D / 4), and for PHOTON the chunker and
// two converters (8 D^2 in all) besides. So deep and narrow vocabularies keep the kinds close: of eight layers and
// more, within a tenth up to V = 32 D.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "configs/model.pb.h"

namespace photon::study {

enum class Kind { kVanilla, kBlock, kPhoton };
inline constexpr Kind kKinds[] = {Kind::kVanilla, Kind::kBlock, Kind::kPhoton};

absl::string_view Name(Kind kind);  // "vanilla", "block", "photon"
// kInvalidArgument listing them, and the nearest one, for anything else.
absl::StatusOr<Kind> ParseKind(const std::string& name);

struct Size {
  std::string name;  // of its width: "d64"
  int width = 0, ffn = 0, heads = 0;
  int layers = 0;    // of the flat model, a multiple of 4
  double flops = 0;  // of the training of each model of this size, unless told otherwise
};

// A ladder of sizes, and what all runs on it share.
struct Scale {
  std::string name;
  std::vector<Size> sizes;  // the smallest first
  int sequence_length = 0, batch_sequences = 0, valid_sequences = 0;
};

// "tiny" (minutes on two cores), "small" (hours there) or "medium" (for a GPU).
absl::StatusOr<Scale> FindScale(const std::string& name);
// Only the sizes that are named, in the scale's order. kInvalidArgument for a name it lacks.
absl::StatusOr<Scale> WithSizes(Scale scale, const std::vector<std::string>& names);

ModelConfig ModelOf(Kind kind, const Size& size, int64_t vocab_size);

}  // namespace photon::study
