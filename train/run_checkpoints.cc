#include "train/run_checkpoints.h"

#include <google/protobuf/util/message_differencer.h>
#include <spdlog/spdlog.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "checkpoint/parameter_io.h"
#include "train/ownership.h"

namespace photon {
namespace {

std::string MomentName(char moment, const Parameter& p) {
  return absl::StrCat("optimizer.", std::string(1, moment), ".", p.spec.name);
}

// A contiguous host copy (or the tensor itself where it already is one).
Tensor OnHost(const Context& context, const Tensor& tensor) {
  PHOTON_CHECK(context.device().type == DeviceType::kCpu) << "staging from a device comes with its backend";
  return tensor;
}

absl::Status CheckSameModel(const std::string& dir, const ModelConfig& found, const ModelConfig& wanted) {
  google::protobuf::util::MessageDifferencer differ;
  // A field left out is the default written out: fields that come later make no other model of older checkpoints.
  differ.set_message_field_comparison(google::protobuf::util::MessageDifferencer::EQUIVALENT);
  std::string difference;
  differ.ReportDifferencesToString(&difference);
  if (differ.Compare(found, wanted)) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(dir, " is a checkpoint of another model: ", absl::StrReplaceAll(difference, {{"\n", "; "}}),
                   "use the config that it was trained with (photon checkpoint inspect shows it), or another run_dir"));
}

}  // namespace

RunCheckpoints::RunCheckpoints(const Context& context, const Mesh& mesh, const RunConfig& config,
                               ParameterSet& parameters, Optimizer& optimizer, std::string tokenizer_bytes)
    : context_(context),
      mesh_(mesh),
      config_(config),
      parameters_(parameters),
      optimizer_(optimizer),
      tokenizer_bytes_(std::move(tokenizer_bytes)) {}

std::vector<TensorPart> RunCheckpoints::PartsToWrite() const {
  std::vector<PlacedPart> placed;
  for (const std::unique_ptr<Parameter>& p : parameters_.parameters()) {
    placed.push_back({&p->spec.placement, p->elements()});
  }
  const std::vector<bool> owned = OwnedParts(placed, mesh_.at());
  std::vector<TensorPart> parts;
  for (size_t i = 0; i < placed.size(); ++i) {
    if (!owned[i]) continue;
    const std::unique_ptr<Parameter>& p = parameters_.parameters()[i];
    const auto add = [&](const char* section, const std::string& name, const Tensor& value) {
      parts.push_back({section, name, p->spec.shape, p->local, OnHost(context_, value)});
    };
    add("model", p->spec.name, p->master);
    add("optimizer", MomentName('m', *p), optimizer_.m(*p));
    add("optimizer", MomentName('v', *p), optimizer_.v(*p));
  }
  return parts;
}

absl::Status RunCheckpoints::Save(const RunState& state) {
  CheckpointContents contents;
  contents.config = config_;
  contents.state = state;
  if (!tokenizer_bytes_.empty()) contents.tokenizer_name = "tokenizer.model";
  contents.tokenizer_bytes = tokenizer_bytes_;
  contents.parts = PartsToWrite();
  PHOTON_RETURN_IF_ERROR(WriteCheckpoint(mesh_.world(), CheckpointDir(config_.run_dir(), state.step()), contents));
  absl::Status published;
  if (mesh_.world().rank() == 0) {
    published = PublishCheckpoint(config_.run_dir(), state.step(), config_.checkpoint().keep_last(),
                                  state.has_best_step() ? state.best_step() : -1);
  }
  return AgreeOn(mesh_.world(), "publish checkpoint", published);
}

absl::StatusOr<RunState> RunCheckpoints::RestoreFrom(const std::string& dir) {
  absl::StatusOr<CheckpointReader> reader = CheckpointReader::Open(dir);
  PHOTON_RETURN_IF_ERROR(AgreeOn(mesh_.world(), "open checkpoint", reader.status()));
  PHOTON_RETURN_IF_ERROR(
      AgreeOn(mesh_.world(), "same model", CheckSameModel(dir, reader->manifest().config().model(), config_.model())));
  PHOTON_RETURN_IF_ERROR(reader->Verify(mesh_.world(), ""));
  const auto load = [&]() -> absl::Status {
    PHOTON_RETURN_IF_ERROR(LoadParameters(*reader, context_, parameters_));
    for (const std::unique_ptr<Parameter>& p : parameters_.parameters()) {
      for (const auto& [name, moment] : {std::pair{'m', optimizer_.m(*p)}, std::pair{'v', optimizer_.v(*p)}}) {
        PHOTON_RETURN_IF_ERROR(LoadTensor(*reader, context_, MomentName(name, *p), p->spec.shape, p->local, moment));
      }
    }
    return absl::OkStatus();
  };
  PHOTON_RETURN_IF_ERROR(AgreeOn(mesh_.world(), "load checkpoint", load()));
  return reader->manifest().state();
}

absl::StatusOr<std::optional<RunState>> RunCheckpoints::Restore() {
  // Rank 0 looks, so that all ranks try the same ones even where a shared file system shows them different views.
  const std::string mine = mesh_.world().rank() == 0 ? absl::StrJoin(ListCheckpoints(config_.run_dir()), "\n") : "";
  PHOTON_ASSIGN_OR_RETURN(const std::string listed, BroadcastString(mesh_.world(), "checkpoints of the run", mine, 0));
  if (listed.empty()) return std::nullopt;
  absl::Status last;
  const std::vector<std::string> dirs = absl::StrSplit(listed, '\n');
  for (const std::string& dir : dirs) {
    absl::StatusOr<RunState> state = RestoreFrom(dir);
    if (state.ok()) return *state;
    last = state.status();
    if (!absl::IsDataLoss(last) && !absl::IsNotFound(last)) return last;
    if (mesh_.world().rank() == 0) spdlog::error("{}: passed over, trying the one before", std::string(last.message()));
  }
  return absl::DataLossError(absl::StrCat("no checkpoint of ", config_.run_dir(),
                                          " is good, so nothing was started over; restore one or choose another "
                                          "run_dir. The last one tried: ",
                                          last.message()));
}

}  // namespace photon
