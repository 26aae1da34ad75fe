// PHOTON and the flat model once more, straight from the specification: plain loops over doubles, one sequence, no
// slices, no index tensors, nothing shared with model/ but the parameters' names. What tests hold the real one against.
#pragma once

#include <string>
#include <vector>

#include "model/language_model.h"

namespace photon::testing {

using Rows = std::vector<std::vector<double>>;

struct ReferenceOutput {
  Rows logits;                        // [T][V]
  std::vector<Rows> states;           // [l]: X^l, [0] unused
  std::vector<Rows> reconstructions;  // [l]: Xh^l, l = 0..L-1
};

// `document_begin[i]`: position where token i's document begins. T a multiple of C_<=L.
ReferenceOutput ReferenceForward(const Context& context, const LanguageModel& model, const std::vector<int32_t>& tokens,
                                 const std::vector<int32_t>& document_begin);

std::vector<double> LogSoftmax(const std::vector<double>& logits);

}  // namespace photon::testing
