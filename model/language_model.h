// What training, scoring and validation see of a model, whatever its number of levels.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "configs/model.pb.h"
#include "core/parameter.h"
#include "core/tape.h"
#include "core/token_batch.h"
#include "model/plan_cache.h"

namespace photon {

class ModelInput;  // model/model_input.h

struct ForwardOptions {
  int64_t slice_tokens = 0;  // tokens per depth-first slice of the level-1 decoder and the head; 0: all at once
  bool recompute = false;    // keep only the stream between encoder layers for the backward pass
};

// Receives the logits of rows [begin, end) of the batch's sequences * T rows, a slice at a time. `hidden` [n, D] is
// what the head was applied to (Xh^0); logits [n, V] are in the compute type. While recording, it must end in sinks.
using LogitsSink = std::function<void(Tape& tape, const Var& hidden, const Var& logits, int64_t begin, int64_t end)>;

// A pair that the reconstruction loss compares: Xh^(l-1) with X^(l-1), [M_(l-1), D] each.
struct Reconstruction {
  int level;  // l >= 2
  Var reconstructed;
  Var encoded;
};

class LanguageModel {
 public:
  virtual ~LanguageModel() = default;

  // Describes the parameters; call parameters().Allocate() and Initialize(), or load a checkpoint, before any forward.
  // The config must be valid (configs/model_config.h).
  static std::unique_ptr<LanguageModel> Create(const ModelConfig& config);

  // The training forward (spec, section 3; section 5 for the flat model). Reads nothing from the host.
  virtual std::vector<Reconstruction> Forward(Tape& tape, const ModelInput& input, const ForwardOptions& options,
                                              const LogitsSink& sink) const = 0;
  // The decoder's embedding of token ids i32 [n]: [n, D].
  virtual Var EmbedTokens(Tape& tape, const Tensor& ids) const = 0;
  // logits of row i score the token at i + target_offset(): 0, or 1 for the flat model.
  virtual int target_offset() const = 0;

  const ModelConfig& config() const { return config_; }
  ParameterSet& parameters() { return parameters_; }
  const ParameterSet& parameters() const { return parameters_; }
  int levels() const { return config_.levels_size(); }
  DType master_type() const { return parameters_.options().master; }
  DType compute_type() const { return parameters_.options().compute; }
  // Rotary angles for positions below at least `positions`; grows, and keeps what it has (recorded
  // operations go on reading it). Any thread.
  Tensor RopeTable(const Context& context, int64_t positions) const;
  const PlanCache& plans() const { return plans_; }

 protected:
  explicit LanguageModel(const ModelConfig& config) : config_(config) {}

  ModelConfig config_;
  ParameterSet parameters_;

 private:
  mutable absl::Mutex rope_mutex_;
  mutable std::vector<Tensor> rope_tables_;  // ever longer ones
  PlanCache plans_;
};

}  // namespace photon
