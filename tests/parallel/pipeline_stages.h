// Stages whose results have a closed form, for tests of the executor on threads and under mpirun.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <vector>

#include "core/context.h"
#include "parallel/pipeline/executor.h"
#include "parallel/pipeline/layout.h"

namespace photon::testing {

// Item i of a chain multiplies the stream by a whole number w_i, and adds each skip that it reads (one without gradient
// is added to a sum of its own instead). Numbers stay small: all sums are exact, in any order.
inline double WeightOf(int item) { return 1 + item % 2; }
inline double SourceOf(int microbatch, int element) { return microbatch + 1 + 10 * element; }
inline double SeedOf(int microbatch) { return microbatch % 4 + 1; }  // gradient of the last item's stream
constexpr int kElements = 3;

struct ChainResult {
  std::vector<double> weight_gradients;  // [item]
  double targets = 0;                    // of skips without gradient
  friend bool operator==(const ChainResult&, const ChainResult&) = default;
};

// The whole chain, one microbatch after the other.
inline ChainResult SerialResult(const pipeline::Chain& chain, int microbatches) {
  const int items = static_cast<int>(chain.items.size());
  ChainResult result = {.weight_gradients = std::vector<double>(items, 0)};
  for (int m = 0; m < microbatches; ++m) {
    for (int e = 0; e < kElements; ++e) {
      std::vector<double> input(items), output(items), gradient(items, 0);
      for (int i = 0; i < items; ++i) {
        input[i] = i == 0 ? SourceOf(m, e) : output[i - 1];
        output[i] = WeightOf(i) * input[i];
        for (const pipeline::Skip& skip : chain.skips) {
          for (const pipeline::Use& use : skip.uses) {
            if (use.item == i) (use.differentiated ? output[i] : result.targets) += output[skip.from];
          }
        }
      }
      gradient[items - 1] = SeedOf(m);
      for (int i = items - 1; i >= 0; --i) {
        result.weight_gradients[i] += gradient[i] * input[i];
        if (i > 0) gradient[i - 1] += WeightOf(i) * gradient[i];
        for (const pipeline::Skip& skip : chain.skips) {
          for (const pipeline::Use& use : skip.uses) {
            if (use.item == i && use.differentiated) gradient[skip.from] += gradient[i];
          }
        }
      }
    }
  }
  return result;
}

// Every edge has the stream, and a label of (item, microbatch) that tells whether it came to the right place.
inline pipeline::EdgeForms FormsOf(const pipeline::Layout& layout) {
  return pipeline::EdgeForms(layout.edges().size(), {{{kElements}, DType::kF64}, {{1, 2}, DType::kF32}});
}

class ChainStage : public Stage {
 public:
  ChainStage(const pipeline::Chain& chain, const pipeline::Layout& layout, int microbatches, int rank,
             const Context& context)
      : chain_(chain), layout_(layout), context_(context) {
    result_.weight_gradients.assign(chain.items.size(), 0);
    for (int m = 0; m < microbatches; ++m) {
      for (int s = 0; s < layout.count(); ++s) unfinished_[s] += layout.RankOf(s, m) == rank;
    }
  }

  const ChainResult& result() const { return result_; }

  Values Forward(int microbatch, int segment, Values inputs, bool last) override {
    const pipeline::Segment& part = layout_.segments()[segment];
    std::map<int, Numbers> streams;  // at the end of an item
    const std::vector<int>& incoming = layout_.incoming(segment);
    EXPECT_EQ(inputs.size(), incoming.size());
    for (size_t n = 0; n < incoming.size(); ++n) {
      const int item = layout_.edges()[incoming[n]].item;
      EXPECT_EQ(inputs[n][1].data<float>()[0], item);
      EXPECT_EQ(inputs[n][1].data<float>()[1], microbatch);
      streams[item] = Read(inputs[n][0]);
    }
    if (last) {
      EXPECT_TRUE(last_.emplace(segment, microbatch).second) << "two last microbatches";
    }
    std::map<int, Numbers>& saved = inputs_[{segment, microbatch}];
    for (int i = part.begin; i < part.end; ++i) {
      for (int e = 0; e < kElements; ++e) {
        saved[i][e] = i == 0 ? SourceOf(microbatch, e) : streams.at(i - 1)[e];
        streams[i][e] = WeightOf(i) * saved[i][e];
      }
      ForSkipsInto(i, [&](int from, bool differentiated) {
        for (int e = 0; e < kElements; ++e) {
          (differentiated ? streams[i][e] : result_.targets) += streams.at(from)[e];
        }
      });
    }
    Values outputs;
    for (const int edge : layout_.outgoing(segment)) {
      const int item = layout_.edges()[edge].item;
      const Tensor label = context_.Empty({1, 2}, DType::kF32);
      label.data<float>()[0] = static_cast<float>(item);
      label.data<float>()[1] = static_cast<float>(microbatch);
      outputs.push_back({Write(streams.at(item)), label});
    }
    return outputs;
  }

  Values Backward(int microbatch, int segment, Values output_gradients, bool split_weights) override {
    const pipeline::Segment& part = layout_.segments()[segment];
    std::map<int, Numbers> gradients;  // of the stream at the end of an item
    if (segment == layout_.count() - 1) gradients[part.end - 1].fill(SeedOf(microbatch));
    const std::vector<int>& outgoing = layout_.outgoing(segment);
    EXPECT_EQ(output_gradients.size(), outgoing.size());
    for (size_t n = 0; n < outgoing.size(); ++n) {
      if (output_gradients[n].empty()) continue;  // nobody differentiates it
      const Numbers arrived = Read(output_gradients[n][0]);
      for (int e = 0; e < kElements; ++e) gradients[layout_.edges()[outgoing[n]].item][e] += arrived[e];
      EXPECT_EQ(output_gradients[n][1].data<float>()[0], 0);  // readers give none of the label's: zeros
    }
    for (int i = part.end - 1; i >= part.begin; --i) {
      const Numbers own = gradients[i];
      if (i > 0) {
        for (int e = 0; e < kElements; ++e) gradients[i - 1][e] += WeightOf(i) * own[e];
      }
      ForSkipsInto(i, [&](int from, bool differentiated) {
        for (int e = 0; differentiated && e < kElements; ++e) gradients[from][e] += own[e];
      });
    }
    Values input_gradients;
    for (const int edge : layout_.incoming(segment)) {
      const auto found = gradients.find(layout_.edges()[edge].item);
      input_gradients.push_back({found == gradients.end() ? Tensor() : Write(found->second), Tensor()});
    }
    gradients_[{segment, microbatch}] = std::move(gradients);
    if (!split_weights) WeightGradients(microbatch, segment);
    return input_gradients;
  }

  void WeightGradients(int microbatch, int segment) override {
    const auto inputs = inputs_.extract({segment, microbatch});
    const auto gradients = gradients_.extract({segment, microbatch});
    ASSERT_TRUE(!inputs.empty() && !gradients.empty());
    for (const auto& [item, input] : inputs.mapped()) {
      const Numbers gradient = gradients.mapped().at(item);
      for (int e = 0; e < kElements; ++e) result_.weight_gradients[item] += gradient[e] * input[e];
    }
    // Hooks for complete gradients fire in the last one: nothing may come after it.
    EXPECT_EQ(--unfinished_[segment] == 0, last_.contains(segment) && last_[segment] == microbatch);
  }

 private:
  using Numbers = std::array<double, kElements>;
  using Key = std::pair<int, int>;  // segment, microbatch

  template <typename F>
  void ForSkipsInto(int item, const F& f) {
    for (const pipeline::Skip& skip : chain_.skips) {
      for (const pipeline::Use& use : skip.uses) {
        if (use.item == item) f(skip.from, use.differentiated);
      }
    }
  }

  static Numbers Read(const Tensor& tensor) {
    Numbers numbers;
    std::copy_n(tensor.data<double>(), kElements, numbers.begin());
    return numbers;
  }
  // Every other element of a wider tensor's rows: not contiguous, and of another shape than the edge's.
  Tensor Write(const Numbers& numbers) {
    const Tensor wide = context_.Empty({kElements, 2}, DType::kF64);
    for (int e = 0; e < kElements; ++e) {
      wide.data<double>()[2 * e] = numbers[e];
      wide.data<double>()[2 * e + 1] = -1;
    }
    return wide.Columns(0, 1);
  }

  const pipeline::Chain& chain_;
  const pipeline::Layout& layout_;
  const Context& context_;
  ChainResult result_;
  std::map<int, int> unfinished_, last_;  // by segment
  std::map<Key, std::map<int, Numbers>> inputs_, gradients_;
};

}  // namespace photon::testing
