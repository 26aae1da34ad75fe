// Sequences that go forward together: their states, what was chosen for each, and the loops of the generation modes.
#pragma once

#include <functional>
#include <vector>

#include "absl/status/status.h"
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

  BatchGeneration(const Context& context, const Report& report) : context_(context), report_(report) {}

  // Both return kDataLoss, naming the token, where the model's logits are no numbers; what came before has been
  // reported.
  //
  // Token by token, until every sequence is done or, with `boundary`, holds whole meta-contexts of that many tokens.
  absl::Status DecodeTokens(const Decoder& decoder, absl::Span<Running> batch, int64_t boundary);
  // A meta-context at a time, until every sequence is done. States at a boundary.
  absl::Status DecodeMetaContexts(MetaContextDecoder& decoder, absl::Span<Running> batch);

  int64_t most_window_bytes() const { return most_window_bytes_; }  // of one sequence

 private:
  // A token for every row of `logits` [n, V]; row i is `ahead(i)` places after the next of sequences[i]'s tokens, and
  // knows of the tokens `known(i)`.
  template <typename Ahead, typename Known>
  std::vector<Choice> ChooseRows(const Tensor& logits, absl::Span<const Sequence* const> sequences, Ahead&& ahead,
                                 Known&& known);
  // `logits` [n, V] are brought to the host; or, where that suffices, chosen from by the device, so that the tokens
  // alone come back.
  template <typename Ahead, typename Known>
  std::vector<Choice> ChooseOnHost(const Tensor& logits, absl::Span<const Sequence* const> sequences, Ahead&& ahead,
                                   Known&& known);
  std::vector<Choice> ChooseOnDevice(const Tensor& logits, absl::Span<const Sequence* const> sequences,
                                     absl::Span<const int64_t> ahead);
  void Refuse(const Sequence& sequence, int64_t ahead);
  void Take(Running& running, absl::Span<const Choice> choices);

  const Context& context_;
  const Report& report_;
  ChoiceWorkspace<float> floats_;
  ChoiceWorkspace<double> doubles_;
  std::vector<float> float_rows_;
  std::vector<double> double_rows_;
  int64_t most_window_bytes_ = 0;
  absl::Status status_;
};

}  // namespace photon
