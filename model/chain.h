// A model as a chain of items, in the order of the forward pass: what a pipeline cuts.
//
//   encoder 1 layer by layer, .., encoder L; decoder L layer by layer, .., decoder 1; the head with the loss.
//
// What stands between stacks belongs to the item beside it: to a stack's first item what makes its input (embedding,
// chunker; converter, contents), to its last item the final norm and what leads to the next stack (the shift, the
// reading out of windows, the term of L_rec). The flat model is encoder 1 and the head.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "configs/model.pb.h"

namespace photon {

struct ModelItem {
  enum class Kind : uint8_t { kEncoder, kDecoder, kHead };
  Kind kind = Kind::kHead;
  int level = 0;  // l; the flat model's stack is level 1's encoder
  int begin = 0;  // layers [begin, end) of the stack
  int end = 0;
  bool first = true;  // of its stack
  bool last = true;
  std::string name;  // "encoder 1, layer 3"
};

// A decoder above level 1 that is fed its own outputs (contents RECONSTRUCTED) runs position by position through all of
// its layers: it is one item.
std::vector<ModelItem> ItemsOf(const ModelConfig& config);

}  // namespace photon
