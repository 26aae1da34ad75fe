// A checkpoint made ready to generate and score: the model with its weights, the tokenizer, and the context they use.
//
// Everything is checked before use: files against their checksums, tensors against the model that the config describes.
// Used by one thread.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "checkpoint/store.h"
#include "core/device.h"
#include "core/profiler.h"
#include "data/tokenizer.h"
#include "inference/decoder.h"
#include "model/language_model.h"

namespace photon {

class LoadedModel {
 public:
  // `path`: a run folder (its newest checkpoint) or a checkpoint folder. `compute`: the type of matrix products, f32 or
  // bf16; masters are f32. `device` outlives the model. Errors name the file or tensor: kNotFound, kDataLoss,
  // kFailedPrecondition (tensors that are not this model's), kInvalidArgument (a config that no model can have).
  static absl::StatusOr<std::unique_ptr<LoadedModel>> Load(const std::string& path, DType compute,
                                                           OpenedDevice& device);

  LoadedModel(const LoadedModel&) = delete;
  LoadedModel& operator=(const LoadedModel&) = delete;

  const Context& context() const { return context_; }
  const LanguageModel& model() const { return *model_; }
  // One for all calls, as it keeps the steps that its device recorded.
  const Decoder& decoder() const { return *decoder_; }
  // Null where the checkpoint carries none: token ids only.
  const std::shared_ptr<const Tokenizer>& tokenizer() const { return tokenizer_; }
  // core/context.h. For what is decoded from here on.
  void SetBatchInvariant(bool invariant) { context_.SetBatchInvariant(invariant); }
  const Manifest& manifest() const { return manifest_; }

 private:
  explicit LoadedModel(OpenedDevice& device);

  absl::Status ReadParameters(const CheckpointReader& reader, DType compute);
  absl::Status ReadTokenizer(const CheckpointReader& reader);

  Profiler profiler_;  // shows scopes to the device's marker
  Context context_;
  Manifest manifest_;
  std::unique_ptr<LanguageModel> model_;
  std::unique_ptr<Decoder> decoder_;
  std::shared_ptr<const Tokenizer> tokenizer_;
};

}  // namespace photon
