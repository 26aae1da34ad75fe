#include "core/tape.h"

#include <algorithm>

#include "core/ops/elementwise.h"
#include "core/ops/memory.h"

namespace photon {

void GradientSlot::Accumulate(const Context& context, Tensor gradient) {
  if (!gradient_.defined()) {
    gradient_ = std::move(gradient);
    return;
  }
  if (!gradient_.exclusive()) {
    Tensor own = context.Empty(gradient_.shape(), gradient_.dtype());
    ops::Cast(context, gradient_, own);
    gradient_ = std::move(own);
  }
  ops::Add(context, gradient.shape() == gradient_.shape() ? gradient : gradient.Reshape(gradient_.shape()), gradient_);
}

Var Tape::Leaf(Tensor value) const { return Output(std::move(value), true); }

Var Tape::Output(Tensor value, bool needs_gradient) const {
  return Var(std::move(value), recording() && needs_gradient ? std::make_shared<GradientSlot>() : nullptr);
}

void Tape::Record(absl::string_view name, std::function<void()> backward, std::vector<const Weight*> weights) {
  PHOTON_CHECK(recording()) << "[tape] " << name << " recorded while evaluating";
  Use(weights);
  if (mode_ == Mode::kCount) return;
  nodes_.push_back({name, std::move(backward), std::move(weights), CurrentScope(context_)});
}

void Tape::WeightGradient(std::function<void()> work) {
  if (defer_weights_) {
    deferred_.push_back([this, scope = CurrentScope(context_), weights = *running_, work = std::move(work)] {
      const Scope again(context_, scope);
      Need(weights);
      work();
    });
  } else {
    work();
  }
}

void Tape::RunNodes() {
  PHOTON_CHECK(mode_ == Mode::kRecord) << "[tape] Backward() of a tape that does not record";
  while (!nodes_.empty()) {
    Node node = std::move(nodes_.back());
    nodes_.pop_back();
    const size_t deferred_before = deferred_.size();
    {
      const Scope scope(context_, node.scope);
      Need(node.weights);
      running_ = &node.weights;
      node.backward();
    }
    if (deferred_.size() == deferred_before) {
      Release(node.weights);
    } else {
      deferred_.push_back([this, weights = std::move(node.weights)] { Release(weights); });
    }
  }
}

void Tape::Backward() {
  defer_weights_ = false;
  RunNodes();
}

void Tape::BackwardInputs() {
  defer_weights_ = true;
  RunNodes();
}

void Tape::BackwardWeights() {
  for (std::function<void()>& work : deferred_) {
    work();
    work = nullptr;  // frees what it saved
  }
  deferred_.clear();
}

void Tape::Need(const std::vector<const Weight*>& weights) {
  if (!needed_) return;
  for (const Weight* weight : weights) needed_(*weight);
}

void Tape::Use(const std::vector<const Weight*>& weights) {
  for (const Weight* weight : weights) {
    PHOTON_CHECK(!complete_.contains(weight))
        << "[tape] " << weight->parameters[0]->spec.name << " is used again after its gradient was declared complete";
    ++uses_[weight];
  }
}

void Tape::Release(const std::vector<const Weight*>& weights) {
  for (const Weight* weight : weights) {
    auto use = uses_.find(weight);
    if (--use->second > 0) continue;
    uses_.erase(use);
    if (!hook_) continue;
    complete_.insert(weight);
    for (Parameter* parameter : weight->parameters) hook_(*parameter);
  }
}

std::vector<const Weight*> Tape::WeightsInUse() const {
  std::vector<const Weight*> weights;
  for (const auto& [weight, count] : uses_) weights.push_back(weight);
  // By name: the order of a hash map must not reach the order of reductions.
  std::sort(weights.begin(), weights.end(),
            [](const Weight* a, const Weight* b) { return a->parameters[0]->spec.name < b->parameters[0]->spec.name; });
  return weights;
}

void Tape::Slices(const Var& x, int64_t rows_per_slice, const SliceBody& body) {
  PHOTON_CHECK(rows_per_slice > 0);
  const int64_t rows = x.value.dim(0);
  if (mode_ == Mode::kEvaluate) {
    for (int64_t begin = 0; begin < rows; begin += rows_per_slice) {
      const int64_t end = std::min(rows, begin + rows_per_slice);
      body(*this, Var(x.value.Rows(begin, end)), begin, end);
    }
    return;
  }
  Tensor gradient;
  if (x.needs_gradient()) gradient = context_.Empty(x.value.shape(), x.value.dtype());
  std::vector<const Weight*> used;
  for (int64_t begin = 0; begin < rows; begin += rows_per_slice) {
    const int64_t end = std::min(rows, begin + rows_per_slice);
    Tape inner(context_, mode_);
    inner.on_gradient_needed(needed_);
    const Var part = inner.Output(x.value.Rows(begin, end), x.needs_gradient());
    body(inner, part, begin, end);
    if (begin == 0) used = inner.WeightsInUse();
    if (mode_ == Mode::kCount) continue;
    inner.Backward();
    if (!x.needs_gradient()) continue;
    const Tensor target = gradient.Rows(begin, end);
    if (const Tensor arrived = part.slot->Take(); arrived.defined()) {
      ops::Cast(context_, arrived.Reshape(target.shape()), target);
    } else {
      ops::Zero(context_, target);
    }
  }
  if (x.needs_gradient()) x.slot->Accumulate(context_, std::move(gradient));
  Use(used);
  if (mode_ == Mode::kRecord) Release(used);
}

std::vector<Var> Tape::Recompute(const std::vector<Var>& inputs, const SpanBody& body) {
  if (mode_ != Mode::kRecord) return body(*this, inputs);
  Tape counting(context_, Mode::kCount);
  std::vector<Var> detached;
  for (const Var& input : inputs) detached.push_back(counting.Output(input.value, input.needs_gradient()));
  std::vector<Var> outputs;
  for (const Var& output : body(counting, detached)) outputs.push_back(Output(output.value, output.needs_gradient()));

  std::vector<std::shared_ptr<GradientSlot>> slots;
  for (const Var& output : outputs) slots.push_back(output.slot);
  Record(
      "recompute",
      [&context = context_, inputs, slots, body] {
        Tape inner(context, Mode::kRecord);
        std::vector<Var> leaves;
        for (const Var& input : inputs) leaves.push_back(inner.Output(input.value, input.needs_gradient()));
        const std::vector<Var> again = body(inner, leaves);
        for (size_t i = 0; i < slots.size(); ++i) {
          if (slots[i] == nullptr) continue;
          if (Tensor g = slots[i]->Take(); g.defined()) again[i].slot->Accumulate(context, std::move(g));
        }
        inner.Backward();
        for (size_t i = 0; i < inputs.size(); ++i) {
          if (!inputs[i].needs_gradient()) continue;
          if (Tensor g = leaves[i].slot->Take(); g.defined()) inputs[i].slot->Accumulate(context, std::move(g));
        }
      },
      counting.WeightsInUse());
  return outputs;
}

}  // namespace photon
