#include "train/run_checkpoints.h"

#include <google/protobuf/util/message_differencer.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "checkpoint/parameter_io.h"

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

std::vector<TensorPart> RunCheckpoints::OwnedParts() const {
  // Data-parallel ranks hold the same; each writes some of it: the next parameter goes to the least loaded rank.
  std::vector<int64_t> load(mesh_.at().size_of(MeshAxis::kDp), 0);
  std::vector<TensorPart> parts;
  for (const std::unique_ptr<Parameter>& p : parameters_.parameters()) {
    const auto owner = std::min_element(load.begin(), load.end());
    *owner += p->elements();
    if (owner - load.begin() != mesh_.at().index_of(MeshAxis::kDp)) continue;
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
  contents.parts = OwnedParts();
  PHOTON_RETURN_IF_ERROR(WriteCheckpoint(mesh_.world(), CheckpointDir(config_.run_dir(), state.step()), contents));
  absl::Status published;
  if (mesh_.world().rank() == 0) {
    published = PublishCheckpoint(config_.run_dir(), state.step(), config_.checkpoint().keep_last());
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
  optimizer_.set_updates(reader->manifest().state().updates());
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
  return absl::DataLossError(
      absl::StrCat("no checkpoint of ", config_.run_dir(), " is good; the last one tried: ", last.message()));
}

}  // namespace photon
