// A batch as the model and its loss read it: in device memory, at the same place whatever the batch, so that a recorded
// forward and backward pass runs again on other data.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <vector>

#include "core/token_batch.h"
#include "model/language_model.h"
#include "model/stack.h"

namespace photon {

// The factors of the loss's terms in its gradient: what depends on the counts of the whole step.
struct LossScales {
  double token = 0;           // of each scored token
  std::vector<double> units;  // [l - 1], of each level-(l-1) unit that holds a real token
};

class ModelInput {
 public:
  // All that decides which operations run, and on how much memory.
  struct Form {
    int64_t sequences = 0;
    int64_t length = 0;   // T, a multiple of C_<=L
    bool masked = false;  // documents may begin inside a sequence
    static Form Of(const TokenBatch& batch);
    friend auto operator<=>(const Form&, const Form&) = default;
  };

  // Room for batches of that form, not filled yet.
  ModelInput(const Context& context, const LanguageModel& model, const Form& form);
  // Filled. Without scales for what only wants values.
  ModelInput(const Context& context, const LanguageModel& model, const TokenBatch& batch,
             const LossScales& scales = {});

  // Queues the upload of a batch of that form; an unmasked one may stand in a masked place.
  void Update(const Context& context, const TokenBatch& batch, const LossScales& scales = {});

  int64_t rows() const { return form_.sequences * form_.length; }
  const Tensor& ids() const { return ids_; }                  // i32 [rows]
  const Tensor& targets() const { return targets_; }          // i32 [rows]: the token that a row's logits score, or -1
  const Tensor& token_scale() const { return token_scale_; }  // [rows] of the master type

  // Attention of the encoder of level l = 1..L (0: the flat model's stack over the tokens): causal over the units of a
  // sequence, confined to documents, and with GROUP scope below the top to the units of one level-(l+1) unit.
  const AttentionPlan& encoder(int l) const { return levels_[l].encoder; }
  const Tensor& shift(int l) const { return levels_[l].shift; }  // i32 [M_l]: ShiftIndex(); where the level shifts
  // Of the level-(l-1) units, l = 1..L: i32 [M_(l-1)], RealUnits(); and their factor in the gradient, [M_(l-1)].
  const Tensor& unit_mask(int l) const { return levels_[l].unit_mask; }
  const Tensor& unit_scale(int l) const { return levels_[l].unit_scale; }

 private:
  struct Level {
    AttentionPlan encoder;
    Tensor shift, unit_mask, unit_scale;
  };
  // A stretch of a long tensor that is uploaded at once: where it begins, and what a batch puts there.
  template <typename T>
  struct Part {
    int64_t begin;
    std::function<std::vector<T>(const TokenBatch& batch, const LossScales& scales)> values;
  };

  Form form_;
  Tensor integers_, reals_;
  std::vector<Part<int32_t>> integer_parts_;
  std::vector<Part<double>> real_parts_;
  Tensor ids_, targets_, token_scale_;
  std::vector<Level> levels_;  // [l], l = 0..L
};

}  // namespace photon
