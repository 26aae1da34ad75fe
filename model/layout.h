// How the parts of a model use the ranks of a mesh: who has which rows, and which weights are split
// (docs/parallelism.md).
//
// A sequence is cut into spans at meta-context borders. Along cp every rank has one span, always. Along tp a stream is
// either *whole*, all tp ranks having the cp rank's span, or *split*: the span is cut once more, and each has its
// piece. The rows of `sequences` sequences lie one sequence after the other, of each the rank's span.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "configs/layout.h"
#include "configs/model.pb.h"
#include "configs/parallel.pb.h"
#include "core/placement.h"
#include "core/tape.h"
#include "model/chain.h"
#include "model/plan_cache.h"
#include "model/span.h"
#include "model/stack_layout.h"
#include "parallel/mesh.h"

namespace photon {

enum class Share : uint8_t { kWhole, kSplit };  // along tp

class ModelLayout {
 public:
  ModelLayout();  // one rank
  // `config` resolved, for a model that it fits (configs/validate_layout.h). The mesh must outlive the layout.
  ModelLayout(const ModelConfig& model, const ParallelConfig& config, const Mesh& mesh);

  // Cuts the model over pipeline stages: stages[i] has item i of ItemsOf(); -1: every stage, each for microbatches of
  // its own. Before the model is made.
  void SetStages(std::vector<int> stages, int own_stage);
  // Whether this rank has what belongs to the item of that layer (of the head: level and layer are of no account).
  bool Here(ModelItem::Kind kind, int level, int layer) const;
  // `placement` of a parameter that belongs there.
  Placement In(Placement placement, ModelItem::Kind kind, int level, int layer) const;

  // The share in which a level's modules take and give their streams. (The flat model's stack is level 1's encoder.)
  Share encoder(int level) const;
  Share decoder(int level) const;
  // Of what a level's shift takes: the top encoder's output, or the output of the decoder above.
  Share shift(int level) const { return level == levels_ ? encoder(level) : decoder(level + 1); }
  // Of the tokens that the head scores.
  Share tokens() const { return levels_ == 0 ? encoder(1) : decoder(1); }

  StackLayout EncoderStack(int level) const;
  StackLayout DecoderStack(int level) const;
  // Whether every cp rank runs the level's encoder over all spans.
  bool everywhere(int level) const;
  // Embeddings and head split over the vocabulary, along tp.
  bool splits_vocabulary() const { return tp().size() > 1 && config_.vocabulary() == ParallelConfig::SPLIT; }
  // Of parameters that work on streams of that share, the same on all tp ranks.
  Placement ReplicatedIn(Share share) const;
  // Of a table whose rows are the vocabulary.
  Placement Vocabulary(Share share) const;

  Communicator& tp() const { return *tp_; }
  // The ranks that hold the spans of streams of that share, in the order of the spans.
  Communicator& spans(Share share) const { return share == Share::kWhole ? *cp_ : *sequence_; }
  Span span(Share share) const { return {spans(share).rank(), spans(share).size()}; }
  // Whether this rank adds up losses of streams of that share: where all tp ranks have the same, one does.
  bool counts(Share share) const { return share == Share::kSplit || tp().rank() == 0; }

  // The same stream in another share. `x` [sequences * positions of the share, W].
  Var Convert(Tape& tape, const PlanCache& plans, absl::string_view what, const Var& x, int64_t sequences, Share from,
              Share to) const;

 private:
  LevelLayout level(int l) const { return LayoutOfLevel(config_, l); }
  bool grouped(int l) const { return scope_ == ModelConfig::GROUP && l < levels_; }  // attends inside its spans alone
  int StageOf(ModelItem::Kind kind, int level, int layer) const;
  StackLayout Staged(StackLayout layout, ModelItem::Kind kind, int level) const;

  ModelConfig::Scope scope_ = ModelConfig::GLOBAL;
  int levels_ = 0;
  std::vector<ModelItem> items_;
  std::vector<int> stages_;  // empty: no pipeline
  int own_stage_ = 0;
  ParallelConfig config_;
  std::unique_ptr<Communicator> self_;  // without a mesh
  Communicator *tp_, *cp_, *sequence_;
};

}  // namespace photon
