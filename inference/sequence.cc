#include "inference/sequence.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "core/random.h"
#include "inference/penalties.h"

namespace photon {

namespace {

uint64_t StreamOf(int64_t continuation) { return StableHash("sampling") + static_cast<uint64_t>(continuation); }

}  // namespace

Sequence::Sequence(const GenerateOptions& options, std::shared_ptr<const Tokenizer> tokenizer,
                   absl::Span<const int32_t> prompt)
    : options_(options),
      tokenizer_(std::move(tokenizer)),
      stream_(tokenizer_),
      stop_(options.stop.strings),
      random_stream_(StreamOf(0)),
      done_(options.max_new_tokens == 0) {
  if (options.sampling.repetition_penalty != 1) history_.AddPrompt(prompt);
  if (tokenizer_ == nullptr) return;
  for (const int32_t id : prompt) stream_.Push(id);
}

Sequence Sequence::ForContinuation(int64_t continuation) const {
  Sequence other = *this;
  other.random_stream_ = StreamOf(continuation);
  return other;
}

// Stop tokens can't be chosen yet.
bool Sequence::HoldsBack(int64_t index) const {
  return index < options_.stop.min_new_tokens && !options_.stop.tokens.empty();
}

bool Sequence::IsPlain(int64_t ahead) const {
  return !HoldsBack(count() + ahead) && !MovesLogits(options_.sampling) && options_.log_probabilities <= 0;
}

template <typename A>
Choice Sequence::Choose(absl::Span<const A> logits, int64_t ahead, absl::Span<const int32_t> chunk,
                        ChoiceWorkspace<A>& workspace) const {
  const SamplingOptions& sampling = options_.sampling;
  const int64_t index = count() + ahead;
  const bool holds_back = HoldsBack(index);
  absl::Span<const A> changed = logits;
  if (holds_back || MovesLogits(sampling)) {
    CopyAllowed(sampling, logits, &workspace.logits);
    const absl::Span<A> row = absl::MakeSpan(workspace.logits);
    ApplyBiases(sampling, row);
    ApplyPenalties(sampling, history_, chunk, row);
    if (holds_back) HoldBack(options_.stop.tokens, row);
    BanBadWords<A>(sampling, result_.tokens, ahead, chunk, row);
    changed = row;
  }
  const double uniform = Philox(sampling.seed, random_stream_).Uniform(static_cast<uint64_t>(index));
  Choice choice;
  choice.token = workspace.sampler.Sample(changed, sampling, uniform);
  if (options_.log_probabilities >= 0) {
    workspace.scorer.Read(logits);
    choice.log_probability = workspace.scorer.LogProbability(choice.token);
    choice.most_likely = workspace.scorer.MostLikely(options_.log_probabilities);
  }
  return choice;
}
template Choice Sequence::Choose(absl::Span<const float>, int64_t, absl::Span<const int32_t>,
                                 ChoiceWorkspace<float>&) const;
template Choice Sequence::Choose(absl::Span<const double>, int64_t, absl::Span<const int32_t>,
                                 ChoiceWorkspace<double>&) const;

int64_t Sequence::Take(absl::Span<const Choice> choices, std::string* text) {
  text->clear();
  int64_t taken = 0;
  for (const Choice& choice : choices) {
    if (done_) break;
    taken += TakeOne(choice, text);
  }
  result_.text += *text;
  return taken;
}

// False for a stop token, which is not kept.
bool Sequence::TakeOne(const Choice& choice, std::string* text) {
  const std::vector<int32_t>& stops = options_.stop.tokens;
  if (std::find(stops.begin(), stops.end(), choice.token) != stops.end()) {
    result_.stop_token = choice.token;
    End(Finish::kStopToken, text);
    return false;
  }
  const bool stops_here = count() >= options_.stop.min_new_tokens;
  result_.tokens.push_back(choice.token);
  if (options_.log_probabilities >= 0) result_.choices.push_back(choice);
  if (HasPenalties(options_.sampling)) history_.AddGenerated(choice.token);
  if (tokenizer_ != nullptr) {
    const std::string piece = stream_.Push(choice.token);
    absl::StrAppend(text, stops_here ? stop_.Push(piece) : stop_.PassThrough(piece));
  }
  if (stop_.stopped()) {
    End(Finish::kStopString, text);
  } else if (count() == options_.max_new_tokens) {
    End(Finish::kLength, text);
  }
  return true;
}

void Sequence::End(Finish finish, std::string* text) {
  done_ = true;
  result_.finish = finish;
  if (tokenizer_ != nullptr && !stop_.stopped()) {
    absl::StrAppend(text, stop_.Push(stream_.Finish()));
    absl::StrAppend(text, stop_.Finish());
  }
  // The bytes of an unfinished character may complete a stop string too.
  if (stop_.stopped()) result_.finish = Finish::kStopString;
  result_.stop_string = stop_.stop();
}

}  // namespace photon
