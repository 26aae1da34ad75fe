#include "train/run_checkpoints.h"

#include <google/protobuf/util/message_differencer.h>
#include <spdlog/spdlog.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "checkpoint/parameter_io.h"
#include "core/checksum.h"
#include "core/human.h"
#include "core/time.h"
#include "data/tokenizer.h"
#include "train/ownership.h"

namespace photon {
namespace {

std::string MomentName(char moment, const Parameter& p) {
  return absl::StrCat("optimizer.", std::string(1, moment), ".", p.spec.name);
}

// A box of a parameter's global tensor that this rank keeps, and where.
struct ShardBox {
  Region region;
  Tensor value;
};

// What this rank keeps of a parameter; `value`: one element for each of those.
std::vector<ShardBox> BoxesOfShard(const Parameter& p, const Tensor& value) {
  std::vector<ShardBox> boxes;
  int64_t at = 0;
  for (Region& box : Boxes(p.local.shape, p.shard.begin, p.shard.end)) {
    for (int d = 0; d < box.shape.rank(); ++d) box.offset[d] += p.local.offset[d];
    const int64_t n = box.shape.elements();
    Tensor rows = value.Rows(at, at + n).Reshape(box.shape);
    boxes.push_back({std::move(box), std::move(rows)});
    at += n;
  }
  return boxes;
}

absl::Status CheckSameModel(const std::string& dir, const ModelConfig& found, const ModelConfig& wanted,
                            const std::string& otherwise) {
  google::protobuf::util::MessageDifferencer differ;
  // A field left out is the default written out: fields that come later make no other model of older checkpoints.
  differ.set_message_field_comparison(google::protobuf::util::MessageDifferencer::EQUIVALENT);
  std::string difference;
  differ.ReportDifferencesToString(&difference);
  if (differ.Compare(found, wanted)) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(dir, " is a checkpoint of another model: ", absl::StrReplaceAll(difference, {{"\n", "; "}}),
                   "use the config that it was trained with (photon checkpoint inspect shows it), or ", otherwise));
}

}  // namespace

RunCheckpoints::RunCheckpoints(const Context& context, const Mesh& mesh, const RunConfig& config,
                               ParameterSet& parameters, Optimizer& optimizer, std::string tokenizer_bytes,
                               FileSystem& files)
    : context_(context),
      mesh_(mesh),
      config_(config),
      parameters_(parameters),
      optimizer_(optimizer),
      tokenizer_bytes_(std::move(tokenizer_bytes)),
      files_(files),
      background_(mesh.world(), files, [this](const CheckpointSave& save) { Publish(save, started_); }) {}

std::vector<TensorPart> RunCheckpoints::PartsToSave() const {
  std::vector<HeldPart> held;
  for (const std::unique_ptr<Parameter>& p : parameters_.parameters()) {
    const Placement& placement = p->spec.placement;
    const AxisSet shared_out = parameters_.sharded() ? placement.summed : AxisSet();
    held.push_back({placement.replicated_axes() - shared_out, p->shard.end - p->shard.begin});
  }
  const std::vector<bool> owned = OwnedParts(held, mesh_.at());
  std::vector<TensorPart> parts;
  for (size_t i = 0; i < held.size(); ++i) {
    if (!owned[i]) continue;
    const Parameter& p = *parameters_.parameters()[i];
    const auto add = [&](const char* section, const std::string& name, const Tensor& value) {
      for (ShardBox& box : BoxesOfShard(p, value)) {
        parts.push_back({section, name, p.spec.shape, std::move(box.region), std::move(box.value)});
      }
    };
    add("model", p.spec.name, p.shard.master);
    add("optimizer", MomentName('m', p), optimizer_.m(p));
    add("optimizer", MomentName('v', p), optimizer_.v(p));
  }
  return parts;
}

CheckpointContents RunCheckpoints::Contents(const RunState& state, std::vector<TensorPart> parts) const {
  CheckpointContents contents;
  contents.config = config_;
  contents.state = state;
  if (!tokenizer_bytes_.empty()) contents.tokenizer_name = TokenizerFileName(tokenizer_bytes_);
  contents.tokenizer_bytes = tokenizer_bytes_;
  contents.parts = std::move(parts);
  contents.init_from = init_from_;
  return contents;
}

absl::Status RunCheckpoints::Save(const RunState& state) {
  started_ = Now();
  PHOTON_ASSIGN_OR_RETURN(std::vector<TensorPart> parts, PartsOnHost());
  PHOTON_RETURN_IF_ERROR(background_.Begin(Dir(state), Contents(state, std::move(parts)), /*urgent=*/true));
  return background_.Finish();
}

absl::Status RunCheckpoints::MakeRoom(const std::vector<TensorPart>& parts) {
  if (room_made_) return absl::OkStatus();
  PHOTON_RETURN_IF_ERROR(snapshot_.Reserve(parts, mesh_.world()));
  room_made_ = true;
  return absl::OkStatus();
}

absl::StatusOr<std::vector<TensorPart>> RunCheckpoints::PartsOnHost() {
  std::vector<TensorPart> parts = PartsToSave();
  if (context_.device().type == DeviceType::kCpu) return parts;
  PHOTON_RETURN_IF_ERROR(MakeRoom(parts));
  return snapshot_.Take(context_, std::move(parts));
}

absl::StatusOr<bool> RunCheckpoints::PrepareAsync() {
  if (!config_.checkpoint().async()) return false;
  if (async_.has_value()) return *async_;
  const absl::Status reserved = MakeRoom(PartsToSave());
  if (!reserved.ok() && !absl::IsResourceExhausted(reserved)) return reserved;
  async_ = reserved.ok();
  if (mesh_.world().rank() != 0) return *async_;
  if (*async_) {
    spdlog::info("checkpoints are written behind the training, from a copy of {} a rank",
                 HumanBytes(snapshot_.bytes()));
  } else {
    spdlog::warn("{}: training waits for each checkpoint (checkpoint.async: false leaves this line out)",
                 std::string(reserved.message()));
  }
  return *async_;
}

absl::Status RunCheckpoints::BeginSave(const RunState& state) {
  PHOTON_CHECK(async_.value_or(false)) << "no room was made";
  started_ = Now();
  return background_.Begin(Dir(state), Contents(state, snapshot_.Take(context_, PartsToSave())), /*urgent=*/false);
}

void RunCheckpoints::Publish(const CheckpointSave& save, double started) const {
  const absl::Status published =
      PublishCheckpoint(config_.run_dir(), save.state().step(), config_.checkpoint().keep_last(), files_,
                        save.state().has_best_saved_step() ? save.state().best_saved_step() : -1);
  spdlog::info("saved {} in {:.2f} s", save.dir(), Now() - started);
  if (published.ok()) return;
  // It costs no checkpoint: the new one is on disk, and a resume finds it.
  spdlog::error("{} is good, but tidying up after it failed and is tried again with the next one: {}", save.dir(),
                std::string(published.message()));
}

absl::StatusOr<CheckpointReader> RunCheckpoints::OpenSameModel(const std::string& dir,
                                                               const std::string& otherwise) const {
  absl::StatusOr<CheckpointReader> reader = CheckpointReader::Open(dir);
  PHOTON_RETURN_IF_ERROR(AgreeOn(mesh_.world(), "open checkpoint", reader.status()));
  PHOTON_RETURN_IF_ERROR(AgreeOn(mesh_.world(), "same model",
                                 CheckSameModel(dir, reader->manifest().config().model(), config_.model(), otherwise)));
  return reader;
}

absl::Status RunCheckpoints::CheckSameTokenizer(const CheckpointReader& reader) const {
  if (tokenizer_bytes_.empty() || !reader.manifest().has_tokenizer()) return absl::OkStatus();
  PHOTON_ASSIGN_OR_RETURN(const std::string theirs, reader.ReadTokenizer());
  if (theirs == tokenizer_bytes_) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("the data's tokenizer (", Checksum(tokenizer_bytes_), ") is not that of ", reader.dir(), " (",
                   Checksum(theirs), "), so the same ids mean other text: prepare the data with --tokenizer ",
                   reader.dir(), "/", reader.manifest().tokenizer()));
}

absl::Status RunCheckpoints::InitFrom(const std::string& path) {
  // Rank 0 looks, so that all ranks read the same one.
  absl::StatusOr<std::string> found = std::string();
  if (mesh_.world().rank() == 0) found = ResolveCheckpoint(path);
  PHOTON_RETURN_IF_ERROR(AgreeOn(mesh_.world(), "initial weights", found.status()));
  PHOTON_ASSIGN_OR_RETURN(const std::string dir, BroadcastString(mesh_.world(), "initial weights", *found, 0));
  PHOTON_ASSIGN_OR_RETURN(const CheckpointReader reader, OpenSameModel(dir, "another checkpoint"));
  PHOTON_RETURN_IF_ERROR(AgreeOn(mesh_.world(), "same tokenizer", CheckSameTokenizer(reader)));
  PHOTON_RETURN_IF_ERROR(reader.Verify(mesh_.world(), "model"));
  PHOTON_RETURN_IF_ERROR(AgreeOn(mesh_.world(), "initial weights", LoadParameters(reader, context_, parameters_)));
  init_from_.emplace();
  init_from_->set_checkpoint(std::filesystem::absolute(dir).lexically_normal().string());
  init_from_->set_step(reader.manifest().state().step());
  return absl::OkStatus();
}

absl::StatusOr<RunState> RunCheckpoints::RestoreFrom(const std::string& dir) {
  PHOTON_ASSIGN_OR_RETURN(const CheckpointReader reader, OpenSameModel(dir, "another run_dir"));
  PHOTON_RETURN_IF_ERROR(reader.Verify(mesh_.world(), ""));
  const auto load = [&]() -> absl::Status {
    PHOTON_RETURN_IF_ERROR(LoadParameters(reader, context_, parameters_));
    for (const std::unique_ptr<Parameter>& p : parameters_.parameters()) {
      for (const auto& [name, moment] : {std::pair{'m', optimizer_.m(*p)}, std::pair{'v', optimizer_.v(*p)}}) {
        for (const ShardBox& box : BoxesOfShard(*p, moment)) {
          PHOTON_RETURN_IF_ERROR(
              LoadTensor(reader, context_, MomentName(name, *p), p->spec.shape, box.region, box.value));
        }
      }
    }
    return absl::OkStatus();
  };
  PHOTON_RETURN_IF_ERROR(AgreeOn(mesh_.world(), "load checkpoint", load()));
  if (reader.manifest().has_init_from()) init_from_ = reader.manifest().init_from();
  return reader.manifest().state();
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
