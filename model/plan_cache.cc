#include "model/plan_cache.h"

#include <algorithm>

#include "core/profiler.h"

namespace photon {

Tensor PlanCache::Get(const Context& context, const Key& key, int64_t units, int64_t per_unit,
                      const std::function<int64_t(int64_t g, int64_t i)>& entry) const {
  const absl::MutexLock lock(&mutex_);
  std::vector<Tensor>& made = tensors_[key];
  if (made.empty() || made.back().elements() < units * per_unit) {
    const Scope scope(context, "row indices");
    // Doubled, so that all that were ever made take no more than twice the last one's memory.
    const int64_t room = made.empty() ? units : std::max(units, 2 * made.back().elements() / per_unit);
    std::vector<int32_t> values(room * per_unit);
    for (int64_t g = 0; g < room; ++g) {
      for (int64_t i = 0; i < per_unit; ++i) values[g * per_unit + i] = static_cast<int32_t>(entry(g, i));
    }
    made.push_back(context.FromHost(values.data(), {room * per_unit}, DType::kI32));
  }
  return made.back().Rows(0, units * per_unit);
}

AttentionPlan PlanCache::Causal(const Context& context, int64_t sequences, int64_t length, int64_t first) const {
  AttentionPlan plan;
  plan.shape.batch = sequences;
  plan.shape.length = length;
  plan.end = first + length;
  plan.positions =
      Get(context, {kPositions, length, first}, sequences, length, [=](int64_t, int64_t i) { return first + i; });
  return plan;
}

WindowPlan PlanCache::Windows(const Context& context, int64_t units, int64_t prefix, int64_t contents,
                              int64_t stride) const {
  const int64_t length = prefix + contents;
  return {.attention = Causal(context, units, length),
          .assemble =
              Get(context, {kAssemble, prefix, contents, stride}, units, length,
                  [=](int64_t g, int64_t i) { return i < prefix ? -1 - (g * prefix + i) : g * stride + i - prefix; }),
          .read_out = Get(context, {kReadOut, prefix, contents}, units, contents + 1,
                          [=](int64_t g, int64_t i) { return g * length + prefix - 1 + i; }),
          .last = LastOfEach(context, units, length)};
}

Tensor PlanCache::AppendColumn(const Context& context, int64_t units, int64_t columns) const {
  return Get(context, {kAppendColumn, columns}, units, columns + 1,
             [=](int64_t g, int64_t j) { return j < columns ? g * columns + j : -1 - g; });
}

Tensor PlanCache::BySequence(const Context& context, int64_t sequences, int64_t first_spans, int64_t length) const {
  return Get(context, {kBySequence, sequences, first_spans, length}, sequences, first_spans * length,
             [=](int64_t sequence, int64_t i) { return (i / length * sequences + sequence) * length + i % length; });
}

Tensor PlanCache::BySpan(const Context& context, int64_t sequences, int64_t spans, int64_t length) const {
  return Get(context, {kBySpan, sequences, spans, length}, spans, sequences * length,
             [=](int64_t span, int64_t i) { return (i / length * spans + span) * length + i % length; });
}

Tensor PlanCache::OfSpan(const Context& context, int64_t sequences, int64_t index, int64_t spans,
                         int64_t length) const {
  return Get(context, {kOfSpan, index, spans, length}, sequences, length,
             [=](int64_t sequence, int64_t i) { return (sequence * spans + index) * length + i; });
}

Tensor PlanCache::LastOfEach(const Context& context, int64_t sequences, int64_t length) const {
  return Get(context, {kLast, length}, sequences, 1, [=](int64_t g, int64_t) { return (g + 1) * length - 1; });
}

Tensor PlanCache::AfterOne(const Context& context, int64_t n) const {
  return Get(context, {kAfterOne, n}, 1, n + 1, [](int64_t, int64_t i) { return i - 1; });
}

}  // namespace photon
