#include "inference/batch_generation.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "absl/base/casts.h"
#include "absl/strings/str_cat.h"
#include "core/ops/elementwise.h"
#include "core/ops/sample.h"
#include "core/status.h"
#include "inference/step.h"

namespace photon {
namespace {

// Logits that are on the host at a time: what is held of them doesn't grow with the batch.
constexpr int64_t kHostRows = 16;

// No NaN, no plus infinity.
template <typename A>
bool AreLogits(absl::Span<const A> row) {
  bool all = true;
  for (const A value : row) all &= value < std::numeric_limits<A>::infinity();
  return all;
}

}  // namespace

template <typename Ahead, typename Known>
std::vector<Choice> BatchGeneration::ChooseRows(const Tensor& logits, Batch rows, Ahead&& ahead, Known&& known) {
  std::vector<int64_t> places;
  bool plain = logits.device().type != DeviceType::kCpu && logits.dtype() != DType::kF64;
  for (size_t i = 0; i < rows.size(); ++i) {
    places.push_back(ahead(i));
    plain = plain && rows[i]->sequence.IsPlain(places[i]);
  }
  return plain ? ChooseOnDevice(logits, rows, places) : ChooseOnHost(logits, rows, ahead, known);
}

template <typename Ahead, typename Known>
std::vector<Choice> BatchGeneration::ChooseOnHost(const Tensor& logits, Batch rows, Ahead&& ahead, Known&& known) {
  std::vector<Choice> choices;
  const auto choose = [&](auto& values, auto& workspace) {
    using A = typename std::decay_t<decltype(values)>::value_type;
    const int64_t count = logits.dim(0), vocabulary = logits.dim(1);
    values.resize(std::min(count, kHostRows) * vocabulary);
    for (int64_t i = 0; i < count; ++i) {
      if (i % kHostRows == 0) {
        const Tensor block = logits.Rows(i, std::min(i + kHostRows, count));
        context_.ToHost(ops::Converted(context_, block, DTypeOf<A>()), values.data());
      }
      const auto row = absl::MakeConstSpan(values).subspan(i % kHostRows * vocabulary, vocabulary);
      if (!AreLogits<A>(row)) Refuse(*rows[i], ahead(i));
      choices.push_back(rows[i]->sequence.Choose(row, ahead(i), known(i), workspace));
    }
  };
  if (logits.dtype() == DType::kF64) {
    choose(double_rows_, doubles_);
  } else {
    choose(float_rows_, floats_);
  }
  return choices;
}

std::vector<Choice> BatchGeneration::ChooseOnDevice(const Tensor& logits, Batch rows, absl::Span<const int64_t> ahead) {
  const int64_t n = static_cast<int64_t>(rows.size());
  std::vector<double> settings;
  std::vector<int32_t> top_k;
  std::vector<int64_t> streams, index;
  for (int64_t i = 0; i < n; ++i) {
    const Sequence& sequence = rows[i]->sequence;
    const SamplingOptions& sampling = sequence.options().sampling;
    settings.insert(settings.end(), {sampling.temperature, sampling.top_p, sampling.min_p, sampling.typical_p});
    top_k.push_back(sampling.top_k);
    streams.push_back(static_cast<int64_t>(sampling.seed));
    streams.push_back(static_cast<int64_t>(sequence.random_stream()));
    index.push_back(sequence.count() + ahead[i]);
  }
  Step step(context_);
  const Step::Value uploads[] = {step.Upload(settings), step.Upload(top_k), step.Upload(streams), step.Upload(index)};
  // Ids and log-probabilities side by side, to be brought here at once.
  const Tensor chosen = context_.Empty({2 * n}, DType::kI32), ids = chosen.Rows(0, n);
  const Tensor log_probabilities = Tensor::Wrap(chosen.Rows(n, 2 * n).raw(), {n}, DType::kF32, context_.device());
  step.Do("sample", [&](const Step::Values& values) {
    const ops::SampleParameters parameters = {.settings = values[uploads[0]].Reshape({n, 4}),
                                              .top_k = values[uploads[1]],
                                              .streams = values[uploads[2]].Reshape({n, 2}),
                                              .index = values[uploads[3]]};
    ops::SampleRows(context_, logits, parameters, ids, log_probabilities);
    return Tensor();
  });
  RunOnce(context_, step);
  std::vector<int32_t> raw(2 * n);
  context_.ToHost(chosen, raw.data());
  std::vector<Choice> choices;
  for (int64_t i = 0; i < n; ++i) {
    const float log_probability = absl::bit_cast<float>(raw[n + i]);
    if (std::isnan(log_probability)) Refuse(*rows[i], ahead[i]);
    choices.push_back({.token = raw[i], .log_probability = log_probability});
  }
  return choices;
}

void BatchGeneration::Refuse(Running& running, int64_t ahead) {
  if (!running.status.ok()) return;
  running.status =
      absl::DataLossError(absl::StrCat("the model's logits for new token ", running.sequence.count() + ahead,
                                       " (counted from 0) are no finite numbers: its weights are damaged, or its "
                                       "training diverged; take an earlier checkpoint"));
}

void BatchGeneration::Take(Running& running, absl::Span<const Choice> choices) {
  if (!running.status.ok()) return;
  std::string text;
  const int64_t taken = running.sequence.Take(choices, &text);
  const std::vector<int32_t>& tokens = running.sequence.result().tokens;
  if (taken > 0 || !text.empty() || running.done()) {
    report_(running, absl::MakeConstSpan(tokens).last(taken), text);
  }
}

void BatchGeneration::DecodeTokens(const Decoder& decoder, Batch batch, int64_t boundary) {
  std::vector<Running*> open;
  for (Running* running : batch) {
    if (!running->done()) open.push_back(running);
  }
  while (!open.empty()) {
    std::vector<DecodingState*> states;
    for (Running* running : open) states.push_back(&running->state);
    const std::vector<Choice> choices = ChooseRows(
        decoder.NextLogits(states), open, [](size_t) { return 0; }, [](size_t) { return absl::Span<const int32_t>(); });
    std::vector<int32_t> tokens;
    states.clear();  // those of sequences that go on
    for (size_t i = 0; i < open.size(); ++i) {
      most_window_bytes_ = std::max(most_window_bytes_, open[i]->state.bytes().windows);
      Take(*open[i], {&choices[i], 1});
      if (open[i]->done()) continue;
      states.push_back(&open[i]->state);
      tokens.push_back(choices[i].token);
    }
    decoder.Accept(states, tokens);
    std::erase_if(open,
                  [&](const Running* running) { return running->done() || running->state.tokens % boundary == 0; });
  }
}

void BatchGeneration::DecodeMetaContext(MetaContextDecoder& decoder, Batch batch) {
  const int64_t meta = decoder.tokens(), chunk = decoder.chunk();
  std::vector<Running*> open;
  std::vector<DecodingState*> states;
  for (Running* running : batch) {
    if (running->done()) continue;
    open.push_back(running);
    states.push_back(&running->state);
  }
  if (open.empty()) return;
  std::vector<Choice> chosen(open.size() * meta);
  std::vector<int32_t> tokens(chosen.size());
  const auto choose = [&](const Tensor& logits, absl::Span<const MetaContextDecoder::Place> places) {
    std::vector<Running*> rows;
    for (const auto& place : places) rows.push_back(open[place.sequence]);
    const auto known = [&](size_t i) {  // its own chunk so far: the others are written at the same time
      const int64_t at = places[i].sequence * meta + places[i].offset, own = places[i].offset % chunk;
      return absl::MakeConstSpan(tokens).subspan(at - own, own);
    };
    const std::vector<Choice> choices = ChooseRows(
        logits, rows, [&](size_t i) { return places[i].offset; }, known);
    std::vector<int32_t> picked;
    for (size_t i = 0; i < places.size(); ++i) {
      const int64_t at = places[i].sequence * meta + places[i].offset;
      chosen[at] = choices[i];
      tokens[at] = choices[i].token;
      picked.push_back(choices[i].token);
    }
    return picked;
  };
  decoder.Decode(states, choose);
  most_window_bytes_ = std::max(most_window_bytes_, decoder.window_bytes() / static_cast<int64_t>(open.size()));
  for (size_t i = 0; i < open.size(); ++i) Take(*open[i], absl::MakeConstSpan(chosen).subspan(i * meta, meta));
}

absl::Status BatchGeneration::DecodeToEnd(const Decoder& decoder, GenerationMode mode, Batch batch) {
  const auto going = [&] { return std::any_of(batch.begin(), batch.end(), [](auto* r) { return !r->done(); }); };
  if (!ByMetaContexts(decoder.model().levels(), mode)) {
    while (going()) DecodeTokens(decoder, batch, decoder.border());
  } else {
    const auto& photon = static_cast<const PhotonDecoder&>(decoder);
    std::vector<Running*> inside;
    for (Running* running : batch) {
      if (running->state.tokens % photon.meta_context() != 0) inside.push_back(running);
    }
    DecodeTokens(photon, inside, photon.meta_context());
    std::vector<DecodingState*> open;
    for (Running* running : batch) {
      if (!running->done()) open.push_back(&running->state);
    }
    MetaContextDecoder meta(context_, photon, MetaContextDecoder::FeedbackOf(mode));
    meta.TakeOver(open);
    while (going()) DecodeMetaContext(meta, batch);
  }
  for (const Running* running : batch) PHOTON_RETURN_IF_ERROR(running->status);
  return absl::OkStatus();
}

}  // namespace photon
