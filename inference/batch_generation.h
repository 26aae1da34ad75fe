// Sequences that go forward together: their states, what was chosen for each, and the loops of the generation modes.
#pragma once

#include <functional>
#include <vector>

#include "inference/decoder.h"
#include "inference/meta_context_decoder.h"
#include "inference/sequence.h"

namespace photon {

// One continuation: where the model stands, and what came out.
struct Running {
  DecodingState state;
  Sequence sequence;
};

class BatchGeneration {
 public:
  // Told of each sequence's new tokens and text (empty: none).
  using Report = std::function<void(const Running&, absl::Span<const int32_t> tokens, absl::string_view text)>;

  BatchGeneration(const Context& context, const LanguageModel& model, const Report& report)
      : context_(context), model_(model), report_(report) {}

  // Token by token, until every sequence is done or, with `boundary`, holds whole meta-contexts of that many tokens.
  void DecodeTokens(const Decoder& decoder, absl::Span<Running> batch, int64_t boundary);
  // A meta-context at a time, until every sequence is done. States at a boundary.
  void DecodeMetaContexts(MetaContextDecoder& decoder, absl::Span<Running> batch);

  int64_t most_window_bytes() const { return most_window_bytes_; }  // of one sequence

 private:
  // A token for every row of `logits` [n, V]; row i is `ahead(i)` places after the next of sequences[i]'s tokens, and
  // knows of the tokens `known(i)`.
  template <typename Ahead, typename Known>
  std::vector<Choice> ChooseRows(const Tensor& logits, absl::Span<const Sequence* const> sequences, Ahead&& ahead,
                                 Known&& known);
  void Take(Running& running, absl::Span<const Choice> choices);

  const Context& context_;
  const LanguageModel& model_;
  const Report& report_;
  ChoiceWorkspace<float> floats_;
  ChoiceWorkspace<double> doubles_;
  std::vector<float> float_rows_;
  std::vector<double> double_rows_;
  int64_t most_window_bytes_ = 0;
};

}  // namespace photon
