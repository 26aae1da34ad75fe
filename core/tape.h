// The tape: reverse-mode differentiation, explicit and small.
//
// An operation on Vars computes its value at once and records a node: a closure that turns the gradient of its outputs
// into gradients of its inputs. Backward() runs the nodes last to first and frees each after it ran. There is no root:
// losses are sinks, whose nodes know their own scale; a pipeline stage seeds the slots of its outputs.
//
// One Tape serves one forward pass of one microbatch. Several may be alive at once (pipelines), each used by one
// thread.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/string_view.h"
#include "core/context.h"
#include "core/parameter.h"
#include "core/profiler.h"
#include "core/tensor.h"

namespace photon {

// Where the gradient of a Var gathers. Apart from the value, so that a node keeps alive only what it needs.
class GradientSlot {
 public:
  // Adds to what is there. The first contribution is taken over without a copy, and added to in place only while
  // nobody else holds it.
  void Accumulate(const Context& context, Tensor gradient);
  // Hands the gradient over and empties the slot; undefined where nothing arrived.
  Tensor Take() { return std::move(gradient_); }
  const Tensor& gradient() const { return gradient_; }

 private:
  Tensor gradient_;
};

// A value in the computation; `slot` is null where no gradient is wanted. Cheap to copy.
struct Var {
  Tensor value;
  std::shared_ptr<GradientSlot> slot;

  Var() = default;
  explicit Var(Tensor v, std::shared_ptr<GradientSlot> s = nullptr) : value(std::move(v)), slot(std::move(s)) {}
  bool needs_gradient() const { return slot != nullptr; }
  // The same elements under another shape; gradients keep the shape they arrive in and are reshaped where used.
  Var Reshape(Shape shape) const { return Var(value.Reshape(std::move(shape)), slot); }
  Var Detach() const { return Var(value); }
};

class Tape {
 public:
  // Called when the last use of a parameter has been differentiated. See on_gradient_complete().
  using GradientHook = std::function<void(Parameter&)>;
  // Called before a node may add to a weight's gradient. See on_gradient_needed().
  using NeededHook = std::function<void(const Weight&)>;

  enum class Mode {
    kRecord,    // training
    kEvaluate,  // values only: scoring, generation, validation
    kCount,     // counts the weights used and keeps nothing: the forward pass of a span that is run again
  };

  Tape(const Context& context, Mode mode) : context_(context), mode_(mode) {}

  const Context& context() const { return context_; }
  // True where operations must save what their gradients need.
  bool recording() const { return mode_ != Mode::kEvaluate; }

  // A leaf whose gradient is wanted (a pipeline input, the boundary of a slice).
  Var Leaf(Tensor value) const;
  // The output of an operation: with a slot if the tape records and an input (or a weight) needs a gradient.
  Var Output(Tensor value, bool needs_gradient) const;

  // Records a node. `weights` lists what it will add to when it runs, for the completion hook.
  void Record(absl::string_view name, std::function<void()> backward, std::vector<const Weight*> weights = {});
  // Called by a node for the part of its work that only weight gradients need. Runs at once, or, under
  // BackwardInputs(), later in BackwardWeights(): schedules that split the two fill pipeline bubbles with it.
  void WeightGradient(std::function<void()> work);

  void Backward();         // everything
  void BackwardInputs();   // input gradients only
  void BackwardWeights();  // what BackwardInputs() put off

  // `hook(parameter)` is called once for every parameter, as soon as this tape adds no more to its gradient. In a
  // step's last microbatch the gradient is then complete, and its reduction can start while the backward pass goes on.
  void on_gradient_complete(GradientHook hook) { hook_ = std::move(hook); }

  // `hook(weight)` is called before any node that adds to the weight's gradient runs, and again before work that such a
  // node put off: the gradient's memory need not exist before.
  void on_gradient_needed(NeededHook hook) { needed_ = std::move(hook); }

  // Runs `body` on consecutive ranges of `rows_per_slice` rows of x, *forward and backward at once*, and drops the
  // activations of each before the next: the depth-first slices of the level-1 decoder, head and loss. `body` must end
  // in sinks (losses). x's gradient is gathered as if the whole had been one operation.
  using SliceBody = std::function<void(Tape& tape, const Var& rows, int64_t begin, int64_t end)>;
  void Slices(const Var& x, int64_t rows_per_slice, const SliceBody& body);

  // Runs `body` without keeping its activations, and again in the backward pass. `body` must be a pure function of
  // its arguments and weights.
  using SpanBody = std::function<std::vector<Var>(Tape& tape, const std::vector<Var>& inputs)>;
  std::vector<Var> Recompute(const std::vector<Var>& inputs, const SpanBody& body);

 private:
  struct Node {
    absl::string_view name;
    std::function<void()> backward;
    std::vector<const Weight*> weights;
    Profiler::ScopeId scope;  // where it was recorded
  };
  using WeightSet = absl::flat_hash_set<const Weight*>;

  void RunNodes();
  void Need(const std::vector<const Weight*>& weights);
  void Use(const std::vector<const Weight*>& weights);
  void Release(const std::vector<const Weight*>& weights);
  std::vector<const Weight*> WeightsInUse() const;

  const Context& context_;
  Mode mode_;
  GradientHook hook_;
  NeededHook needed_;
  const std::vector<const Weight*>* running_ = nullptr;  // what the node that runs may add to
  bool defer_weights_ = false;
  std::vector<Node> nodes_;
  std::vector<std::function<void()>> deferred_;
  absl::flat_hash_map<const Weight*, int> uses_;  // recorded and not yet differentiated
  WeightSet complete_;                            // those whose hook was called
};

// What follows gradients through a step hands to the tapes of its microbatches. Either may be empty.
struct GradientHooks {
  Tape::GradientHook complete;
  Tape::NeededHook needed;
  bool each_microbatch = false;  // `complete` is called in all of them, not in the last one alone
};

}  // namespace photon
