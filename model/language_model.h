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
#include "model/layout.h"
#include "model/plan_cache.h"
#include "model/stack.h"

namespace photon {

class ModelInput;  // model/model_input.h

struct ForwardOptions {
  int64_t slice_tokens = 0;  // tokens per depth-first slice of the level-1 decoder and the head; 0: all at once
  bool recompute = false;    // keep only the stream between encoder layers for the backward pass
};

// Receives the logits of rows [begin, end) of this rank's rows of the batch (ModelInput::rows()), a slice at a time.
// `hidden` [n, D] is what the head was applied to (Xh^0); logits [n, V] are in the compute type. While recording, it
// must end in sinks. Where the vocabulary is split: logits of this rank's columns, and of the rows that are gathered
// for them (ModelInput::Gathered).
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
  static std::unique_ptr<LanguageModel> Create(const ModelConfig& config, ModelLayout layout = {});

  // The training forward (spec, section 3; section 5 for the flat model): all items of the chain. Reads nothing from
  // the host.
  std::vector<Reconstruction> Forward(Tape& tape, const ModelInput& input, const ForwardOptions& options,
                                      const LogitsSink& sink) const;

  // An encoder's output in this rank's rows, and, where every cp rank runs it over all spans
  // (ModelLayout::everywhere), over all of them.
  struct Encoded {
    Var own, all;
  };
  // What a forward pass carries from item to item.
  struct Passage {
    Stack::Stream stream;          // inside a stack; between stacks one value, in the rows of the next
    std::vector<Encoded> encoded;  // [l]: X^l, l = 1..L, in the share of encoder l
    std::vector<Var> contents;     // [l]: X^(l-1) in the share of decoder l
    std::vector<Reconstruction> reconstructions = {};
  };
  Passage Begin() const;
  // Rows of tokens that decoder 1 and the head work on, a slice of this rank's.
  struct TokenRows {
    int64_t begin, end;
  };
  // Items [begin, end) of a batch. Where they are all from the first that can be (PHOTON: decoder 1; flat: the head) to
  // the head, those run in slices, forward and backward at once; else the head alone does, where it is among them.
  // `done` (may be empty) is called after each item that is not in a slice.
  using AfterItem = std::function<void(int item, const Passage& passage)>;
  void RunItems(Tape& tape, const ModelInput& input, const ForwardOptions& options, int begin, int end,
                const LogitsSink& sink, Passage* passage, const AfterItem& done = {}) const;
  virtual void RunItem(Tape& tape, const ModelInput& input, const ForwardOptions& options, const ModelItem& item,
                       TokenRows rows, const LogitsSink& sink, Passage* passage) const = 0;
  const std::vector<ModelItem>& items() const { return items_; }

  // The decoder's embedding of token ids i32 [n]: [n, D]. Not with a split vocabulary.
  virtual Var EmbedTokens(Tape& tape, const Tensor& ids) const = 0;
  // The same of rows [begin, end) of the input, whatever the layout.
  virtual Var EmbedTokens(Tape& tape, const ModelInput& input, int64_t begin, int64_t end) const = 0;
  // logits of row i score the token at i + target_offset(): 0, or 1 for the flat model.
  virtual int target_offset() const = 0;

  const ModelConfig& config() const { return config_; }
  ParameterSet& parameters() { return parameters_; }
  const ParameterSet& parameters() const { return parameters_; }
  int levels() const { return config_.levels_size(); }
  const ModelLayout& layout() const { return layout_; }
  // Rows of tokens in a slice of the forward pass, of `rows` in all (the last slice may have fewer).
  int64_t SliceRows(int64_t slice_tokens, int64_t rows) const;
  DType master_type() const { return parameters_.options().master; }
  DType compute_type() const { return parameters_.options().compute; }
  // Rotary angles for positions below at least `positions`; grows, and keeps what it has (recorded
  // operations go on reading it). Any thread.
  Tensor RopeTable(const Context& context, int64_t positions) const;
  const PlanCache& plans() const { return plans_; }

 protected:
  LanguageModel(const ModelConfig& config, ModelLayout layout)
      : config_(config), layout_(std::move(layout)), items_(ItemsOf(config)) {}

  // The item's layers of the encoder of level l (0: the flat model's stack) over the stream, which at its first layer
  // is x [rows of its share, D]. True where it was the last one: then `encoded` is its output.
  bool RunEncoder(Tape& tape, const ModelInput& input, const ForwardOptions& options, const Stack& stack, int l,
                  const ModelItem& item, Stack::Stream* stream, Encoded* encoded) const;
  // A table [V, width] of embeddings, or the head, a matrix of products; null where `item`, which it belongs to, is of
  // another pipeline stage. `share`: of the streams that it works on.
  const Weight* AddVocabulary(const char* name, int64_t width, bool matrix, Share share, const ModelItem& item);
  // Rows of the table for streams of that share. `ids` as ModelInput orders them: with a split vocabulary, of all tp
  // ranks' rows where those differ, rank by rank.
  Var Embed(Tape& tape, const Weight& table, const Tensor& ids, Share share) const;
  // hidden [n, D] of streams of layout().tokens() -> logits in the compute type.
  Var ApplyHead(Tape& tape, const Weight& head, const Var& hidden) const;

  ModelConfig config_;
  ModelLayout layout_;
  std::vector<ModelItem> items_;
  ParameterSet parameters_;
  PlanCache plans_;

 private:
  mutable absl::Mutex rope_mutex_;
  mutable std::vector<Tensor> rope_tables_;  // ever longer ones
};

}  // namespace photon
