// A batch as the model and its loss read it on one rank: in device memory, at the same place whatever the batch, so
// that a recorded forward and backward pass runs again on other data.
//
// Every cp and tp rank is given the same whole sequences, and takes from them what its layout makes its own.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <vector>

#include "core/token_batch.h"
#include "model/language_model.h"
#include "model/packing.h"
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
    int64_t length = 0;        // T, a multiple of C_<=L
    bool masked = false;       // documents may begin inside a sequence
    int64_t slice_tokens = 0;  // ForwardOptions::slice_tokens, where the vocabulary is split: else of no account
    static Form Of(const TokenBatch& batch, int64_t slice_tokens = 0);
    friend auto operator<=>(const Form&, const Form&) = default;
  };

  // Room for batches of that form, not filled yet.
  ModelInput(const Context& context, const LanguageModel& model, const Form& form);
  // Filled. Without scales for what only wants values.
  ModelInput(const Context& context, const LanguageModel& model, const TokenBatch& batch, const LossScales& scales = {},
             int64_t slice_tokens = 0);

  // Queues the upload of a batch of that form; an unmasked one may stand in a masked place.
  void Update(const Context& context, const TokenBatch& batch, const LossScales& scales = {});

  int64_t sequences() const { return form_.sequences; }
  int64_t length() const { return form_.length; }  // T
  // Rows of tokens whose logits this rank scores: those of layout().tokens().
  int64_t rows() const { return rows_; }
  // What embedding, head and loss of these rows are computed with. Where the vocabulary is split, ids and targets are
  // rows of this rank's part of it, -1 where it has none; and where besides the tp ranks have rows of their own, all
  // their rows are here (gathered = tp, else 1): those of a slice together, rank by rank.
  // Rows [begin, end) are a slice, or all of them.
  Tensor TokenIds(int64_t begin, int64_t end) const {  // i32 [gathered * (end - begin)]
    return Gathered(begin == 0 && end == rows_ ? tokens_.whole_ids : tokens_.ids, begin, end);
  }
  const Tensor& token_targets() const { return tokens_.targets; }  // i32: what a row's logits score; -1: nothing (here)
  const Tensor& token_scored() const { return tokens_.scored; }    // i32, with a split vocabulary: -1: nothing anywhere
  const Tensor& token_scale() const { return tokens_.scale; }      // of the master type: the factor in the gradient
  // The part of one of these that belongs to the slice [begin, end) of this rank's rows.
  Tensor Gathered(const Tensor& all, int64_t begin, int64_t end) const {
    return all.Rows(begin * tokens_.gathered, end * tokens_.gathered);
  }
  // Ids for the encoder's embedding, the same way: in the rows of layout().encoder(1), not in slices.
  const Tensor& encoder_ids() const { return encoder_ids_; }

  // Attention of the encoder of level l = 1..L (0: the flat model's stack over the tokens): causal over the units of a
  // sequence, confined to documents, and with GROUP scope below the top to the units of one level-(l+1) unit. This
  // rank's units (with ModelLayout::everywhere all).
  const AttentionPlan& encoder(int l) const { return levels_[l].encoder; }
  const Tensor& shift(int l) const { return levels_[l].shift; }  // i32 [units]: ShiftIndex(); where the level shifts
  // Of the level-(l-1) units of decoder l, l = 1..L: i32, RealUnits(); and their factor in the gradient.
  const Tensor& unit_mask(int l) const { return levels_[l].unit_mask; }
  const Tensor& unit_scale(int l) const { return levels_[l].unit_scale; }
  // Whether this rank adds the losses of its rows of tokens, and of the units of decoder l: where all tp ranks have the
  // same, one does.
  bool counts_tokens() const { return tokens_.counted; }
  bool counts_units(int l) const { return levels_[l].counted; }

 private:
  struct Level {
    AttentionPlan encoder;
    Tensor shift, unit_mask, unit_scale;
    bool counted = true;
  };
  // A stretch of a long tensor that is uploaded at once: where it begins, and what a batch puts there.
  template <typename T>
  struct Part {
    int64_t begin;
    std::function<std::vector<T>(const TokenBatch& batch, const LossScales& scales)> values;
  };

  void AddTokens(const LanguageModel& model);
  void AddLevels(const Context& context, const LanguageModel& model);
  void AddIntegers(int64_t n, Tensor* view, std::function<std::vector<int32_t>(const TokenBatch& batch)> values);
  void AddReals(int64_t n, Tensor* view,
                std::function<std::vector<double>(const TokenBatch& batch, const LossScales& scales)> values);

  Form form_;
  int64_t rows_ = 0;
  Packing integer_places_, real_places_;  // while the input is made
  Tensor integers_, reals_;
  std::vector<Part<int32_t>> integer_parts_;
  std::vector<Part<double>> real_parts_;
  struct Tokens {
    int64_t gathered = 1;
    bool counted = true;
    Tensor ids, targets, scored, scale;
    Tensor whole_ids;  // in the order of a single slice
  };
  Tokens tokens_;
  Tensor encoder_ids_;
  std::vector<Level> levels_;  // [l], l = 0..L
};

}  // namespace photon
