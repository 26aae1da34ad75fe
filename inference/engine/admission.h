// What a request may take: judged when it comes, by the engine's options. Any thread.
#pragma once

#include "inference/engine/engine.h"
#include "inference/engine/state_size.h"

namespace photon {

class Admission {
 public:
  // `decoder` and `tokenizer`, which may be null, outlive it.
  Admission(const Decoder& decoder, const Tokenizer* tokenizer, const EngineOptions& options)
      : model_(decoder.model()), tokenizer_(tokenizer), options_(options), size_(decoder) {}

  int64_t BytesOf(const EngineRequest& request) const;         // of each continuation
  int64_t ReadingBytesOf(const EngineRequest& request) const;  // beside these, while its prompt is read
  // As Engine::Submit.
  absl::Status Validate(const EngineRequest& request) const;
  // As Engine::MostNewTokens.
  int64_t MostNewTokens(const EngineRequest& request, int64_t most) const;
  const StateSize& size() const { return size_; }

 private:
  // Of so many continuations with so many new tokens each, the reading of the prompt included.
  int64_t Needed(const EngineRequest& request, int64_t continuations, int64_t new_tokens) const;

  const LanguageModel& model_;
  const Tokenizer* const tokenizer_;
  const EngineOptions options_;
  const StateSize size_;
};

}  // namespace photon
