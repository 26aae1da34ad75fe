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
  // kDataLoss, naming the token, once the model's logits for it are no numbers: it goes no further.
  absl::Status status = absl::OkStatus();

  bool done() const { return sequence.done() || !status.ok(); }
};
using Batch = absl::Span<Running* const>;

class BatchGeneration {
 public:
  // Told of each sequence's new tokens and text (empty: none), and once, maybe with neither, when it is done.
  using Report = std::function<void(const Running&, absl::Span<const int32_t> tokens, absl::string_view text)>;

  BatchGeneration(const Context& context, const Report& report) : context_(context), report_(report) {}

  // A token for each that is not done, and more until it holds whole multiples of `boundary` tokens.
  void DecodeTokens(const Decoder& decoder, Batch batch, int64_t boundary);
  // A meta-context for each that is not done. States at a boundary.
  void DecodeMetaContext(MetaContextDecoder& decoder, Batch batch);
  // Every sequence to its end. kDataLoss: the first one's whose logits are no numbers.
  absl::Status DecodeToEnd(const Decoder& decoder, GenerationMode mode, Batch batch);

  int64_t most_window_bytes() const { return most_window_bytes_; }  // of one sequence

 private:
  // A token for every row of `logits` [n, V]; row i is `ahead(i)` places after the next of rows[i]'s tokens, and knows
  // of the tokens `known(i)`.
  template <typename Ahead, typename Known>
  std::vector<Choice> ChooseRows(const Tensor& logits, Batch rows, Ahead&& ahead, Known&& known);
  // `logits` [n, V] are brought to the host; or, where that suffices, chosen from by the device, so that the tokens
  // alone come back.
  template <typename Ahead, typename Known>
  std::vector<Choice> ChooseOnHost(const Tensor& logits, Batch rows, Ahead&& ahead, Known&& known);
  std::vector<Choice> ChooseOnDevice(const Tensor& logits, Batch rows, absl::Span<const int64_t> ahead);
  static void Refuse(Running& running, int64_t ahead);
  void Take(Running& running, absl::Span<const Choice> choices);

  const Context& context_;
  const Report& report_;
  ChoiceWorkspace<float> floats_;
  ChoiceWorkspace<double> doubles_;
  std::vector<float> float_rows_;
  std::vector<double> double_rows_;
  int64_t most_window_bytes_ = 0;
};

}  // namespace photon
