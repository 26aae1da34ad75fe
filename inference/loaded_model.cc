#include "inference/loaded_model.h"

#include "absl/strings/str_cat.h"
#include "checkpoint/manifest.h"
#include "checkpoint/parameter_io.h"
#include "configs/model_config.h"
#include "parallel/communicator.h"

namespace photon {
namespace {

constexpr char kModelSection[] = "model";
constexpr char kRemedy[] = "; the checkpoint's tensors don't fit its own config: restore it or use another one";

// Every parameter has a tensor of its shape, and no tensor of the model is left over.
absl::Status CheckTensors(const CheckpointReader& reader, const ParameterSet& parameters) {
  for (const auto& parameter : parameters.parameters()) {
    const ParameterSpec& spec = parameter->spec;
    const ManifestTensor* tensor = reader.Find(spec.name);
    if (tensor == nullptr || tensor->section() != kModelSection) {
      return absl::FailedPreconditionError(absl::StrCat(reader.dir(), ": no tensor ", spec.name, kRemedy));
    }
    if (GlobalShape(*tensor) == spec.shape) continue;
    return absl::FailedPreconditionError(absl::StrCat(reader.dir(), ": tensor ", spec.name, " has shape ",
                                                      GlobalShape(*tensor).ToString(), ", the model's is ",
                                                      spec.shape.ToString(), kRemedy));
  }
  for (const ManifestTensor& tensor : reader.manifest().tensors()) {
    if (tensor.section() != kModelSection || parameters.Find(tensor.name()) != nullptr) continue;
    return absl::FailedPreconditionError(
        absl::StrCat(reader.dir(), ": tensor ", tensor.name(), " is of no part of the model", kRemedy));
  }
  return absl::OkStatus();
}

}  // namespace

LoadedModel::LoadedModel(OpenedDevice& device) : context_(device.MakeContext(&profiler_)) {
  profiler_.SetMarker(device.marker());
}

absl::StatusOr<std::unique_ptr<LoadedModel>> LoadedModel::Load(const std::string& path, DType compute,
                                                               OpenedDevice& device) {
  PHOTON_CHECK(compute == DType::kF32 || compute == DType::kBF16) << Name(compute);
  PHOTON_ASSIGN_OR_RETURN(const std::string dir, ResolveCheckpoint(path));
  PHOTON_ASSIGN_OR_RETURN(const CheckpointReader reader, CheckpointReader::Open(dir));
  PHOTON_RETURN_IF_ERROR(ValidateModel(reader.manifest().config().model()));
  const std::unique_ptr<Communicator> self = SelfCommunicator();
  PHOTON_RETURN_IF_ERROR(reader.Verify(*self, kModelSection));

  std::unique_ptr<LoadedModel> loaded(new LoadedModel(device));
  loaded->manifest_ = reader.manifest();
  loaded->model_ = LanguageModel::Create(loaded->manifest_.config().model());
  PHOTON_RETURN_IF_ERROR(CheckTensors(reader, loaded->model_->parameters()));
  PHOTON_RETURN_IF_ERROR(loaded->ReadParameters(reader, compute));
  loaded->decoder_ = Decoder::Create(loaded->context_, *loaded->model_, &device);
  PHOTON_RETURN_IF_ERROR(loaded->ReadTokenizer(reader));
  return loaded;
}

absl::Status LoadedModel::ReadParameters(const CheckpointReader& reader, DType compute) {
  ParameterSet& parameters = model_->parameters();
  ParameterSet::Options options;
  options.compute = compute;
  options.gradients = false;
  parameters.Allocate(context_, options);
  return LoadParameters(reader, context_, parameters);
}

absl::Status LoadedModel::ReadTokenizer(const CheckpointReader& reader) {
  if (!manifest_.has_tokenizer() || manifest_.tokenizer().empty()) return absl::OkStatus();
  PHOTON_ASSIGN_OR_RETURN(std::string bytes, reader.ReadTokenizer());
  const std::string name = absl::StrCat(reader.dir(), "/", manifest_.tokenizer());
  PHOTON_ASSIGN_OR_RETURN(tokenizer_, Tokenizer::FromBytes(std::move(bytes), name));
  if (tokenizer_->vocab_size() <= model_->config().vocab_size()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(name, " has ", tokenizer_->vocab_size(), " pieces, but the model's vocab_size is ",
                   model_->config().vocab_size(), ": they don't belong together; use another checkpoint"));
}

}  // namespace photon
