// Chunker and converter: between one level and the next (spec, section 2).
#pragma once

#include <optional>
#include <string>

#include "configs/model.pb.h"
#include "core/parameter.h"
#include "core/tape.h"

namespace photon {

// C_l consecutive vectors of the level below become one.
class Chunker {
 public:
  // `placement`: of its parameters; none where another pipeline stage has them.
  Chunker(ParameterSet& parameters, const ModelConfig& config, int level, const std::optional<Placement>& placement);
  // x [M_(l-1), W] -> [M_l, D], W = D / C_1 at level 1 (there the concatenation is all), else D.
  Var Forward(Tape& tape, const Var& x) const;

 private:
  std::string name_;  // "level.2.chunker"
  int64_t chunk_, width_;
  double eps_;
  const ParameterSet* parameters_;
  const Weight* norm_ = nullptr;  // null at level 1
  const Weight* proj_ = nullptr;
  const Weight* bias_ = nullptr;
};

// One vector becomes R_l prefix vectors.
class Converter {
 public:
  Converter(ParameterSet& parameters, const ModelConfig& config, int level, const std::optional<Placement>& placement);
  // x [M, D] -> [M R_l, D]: the prefix vectors of unit g are rows g R_l .. g R_l + R_l - 1.
  Var Forward(Tape& tape, const Var& x) const;

 private:
  std::string name_;  // "level.1.converter"
  int64_t prefix_, width_;
  const ParameterSet* parameters_;
  const Weight* weight_ = nullptr;
  const Weight* bias_ = nullptr;
};

}  // namespace photon
