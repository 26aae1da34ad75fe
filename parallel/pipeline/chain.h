// A model as pipelines see it: a chain of items, in the order of the forward pass, and what they cost.
//
// PHOTON's chain goes up through the encoders' layers and down through the decoders' to the head. Between neighbours
// runs the stream. Besides, a level's decoder reads what its encoder's lower neighbour gave (the contents X^(l-1), and
// the target of the reconstruction loss): a skip.
//
// Plain data. Costs are of one microbatch, in any one unit (seconds, FLOPs, layers of some kind).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace photon::pipeline {

struct Item {
  std::string name;              // "encoder 1, layer 3"
  std::string group;             // its items are named together, "E1": a level's stack
  double forward = 0;            // cost
  double backward = 0;           // of the input gradients
  double weights = 0;            // of the weight gradients
  int64_t parameter_bytes = 0;   // with their gradients and the optimizer's state
  int64_t activation_bytes = 0;  // kept from the forward pass until the last gradient
  int64_t stream_bytes = 0;      // of what it hands to the next item
  double total() const { return forward + backward + weights; }
};

// A reader of a stream, other than the next item.
struct Use {
  int item = 0;
  bool differentiated = true;  // false: no gradient flows back (the target of a loss that stops it)
};

// The stream at the end of item `from`, read by later items too.
struct Skip {
  int from = 0;
  std::vector<Use> uses;
};

struct Chain {
  std::vector<Item> items;
  int encoders = 0;  // the first so many are on the way up
  std::vector<Skip> skips;
};

}  // namespace photon::pipeline
