// Runs of a tiny model over a made-up token file, on ranks that are threads (or MPI's), for tests.
#pragma once

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "configs/config.h"
#include "configs/model_config.h"
#include "core/backend.h"
#include "core/random.h"
#include "data/dataset.h"
#include "data/loader.h"
#include "tests/data/temporary.h"
#include "train/run_checkpoints.h"
#include "train/trainer.h"

namespace photon::testing {

inline constexpr int kVocab = 61;

// Documents of 1 to 90 tokens: with 64 a sequence, some are padded, some cut, and no two ranks score as many.
inline std::shared_ptr<const TokenFile> WriteTokens(const std::string& prefix) {
  const Philox philox(5, 6);
  std::vector<std::vector<int32_t>> documents(60);
  for (size_t d = 0; d < documents.size(); ++d) {
    documents[d].resize(1 + philox.Block(d)[0] % 90);
    for (size_t i = 0; i < documents[d].size(); ++i)
      documents[d][i] = philox.Block(1000 * (d + 1) + i)[1] % 7 * (1 + d % 8);
  }
  return WriteDocuments(prefix, documents, kVocab);
}

// L = 2, T = 64, 12 sequences a step: 1, 2, 3 and 4 ranks get the same number.
inline RunConfig TinyRun(const std::string& run_dir) {
  RunConfig config;
  config.set_run_dir(run_dir);
  ModelConfig& model = *config.mutable_model();
  model.set_vocab_size(kVocab);
  model.set_width(24);
  model.set_ffn(40);
  model.set_heads(2);
  for (int l = 0; l < 2; ++l) {
    LevelConfig& level = *model.add_levels();
    level.set_encoder_layers(1);
    level.set_decoder_layers(1);
  }
  config.mutable_data()->set_train("unused");
  config.mutable_data()->set_sequence_length(64);
  TrainingConfig& training = *config.mutable_training();
  training.set_steps(10);
  training.set_batch_sequences(12);
  training.set_dtype("f32");
  training.set_slice_tokens(64);
  training.mutable_objective()->set_alpha(0.3);
  training.mutable_optimizer()->set_peak_lr(1e-2);
  training.mutable_optimizer()->set_warmup_steps(3);
  return config;
}

// What training left behind: all of it is compared bit for bit.
struct Outcome {
  std::vector<StepMetrics> steps;
  std::vector<double> master, m, v;  // of all parameters, whole, in the order in which the model adds them
  std::vector<double> compute;       // those that have copies
  RunState state;
};

inline std::vector<double> Doubles(const Tensor& tensor) {
  std::vector<double> values(tensor.elements());
  VisitFloat(tensor.dtype(), [&](auto tag) {
    using T = decltype(tag);
    std::transform(tensor.data<T>(), tensor.data<T>() + tensor.elements(), values.begin(),
                   [](T value) { return static_cast<double>(value); });
  });
  return values;
}

// A parameter's values of this rank's part, from what each rank of the group that shares them out keeps. Collective
// where that is more than one.
inline std::vector<double> Whole(const Parameter& p, const Tensor& kept, Communicator& sharers) {
  const std::vector<double> own = p.shard.begin == p.shard.end ? std::vector<double>() : Doubles(kept);
  std::vector<double> whole(p.elements());
  std::copy(own.begin(), own.end(), whole.begin() + p.shard.begin);
  // As integers: the others' zeros leave every bit as it is.
  const absl::Status summed =
      sharers.AllReduce("whole", Tensor::Wrap(whole.data(), {p.elements()}, DType::kI64), Reduction::kSum);
  PHOTON_CHECK(summed.ok()) << summed.ToString();
  return whole;
}

// The step that a trainer resumed at; 0 where there was nothing.
inline absl::StatusOr<int64_t> ResumeFrom(RunCheckpoints& checkpoints, Trainer& trainer) {
  PHOTON_ASSIGN_OR_RETURN(const std::optional<RunState> state, checkpoints.Restore());
  if (!state.has_value()) return 0;
  trainer.Restore(*state);
  return state->step();
}

// One rank of a run: everything `photon train` builds, without its program.
class RankRun {
 public:
  RankRun(const RunConfig& requested, Communicator& world, std::shared_ptr<const TokenFile> tokens,
          FileSystem& files = RealFileSystem())
      : config_(Resolved(requested, world.size())),
        mesh_(*Mesh::Create(world, config_.parallel())),
        context_(Device{}, CpuBackend(), arena_),
        trainer_(config_, mesh_, context_, arena_),
        checkpoints_(context_, mesh_, config_, trainer_.model().parameters(), trainer_.optimizer(), "", files) {
    const DatasetOptions options{.sequence_length = config_.data().sequence_length(),
                                 .align = ChunkProduct(config_.model()),
                                 .seed = config_.data().seed(),
                                 .vocab_size = config_.model().vocab_size()};
    dataset_ = *Dataset::Create(tokens, {0, tokens->documents()}, options);
  }

  Trainer& trainer() { return trainer_; }
  RunCheckpoints& checkpoints() { return checkpoints_; }
  const Dataset& dataset() const { return *dataset_; }
  const Context& context() const { return context_; }
  const Mesh& mesh() const { return mesh_; }
  const std::vector<StepMetrics>& steps() const { return steps_; }

  // Steps until `last` are done. `after` is called after each.
  absl::Status TrainTo(
      int64_t last, const std::function<absl::Status()>& after = [] { return absl::OkStatus(); }) {
    Communicator& dp = mesh_.axis(MeshAxis::kDp);
    PHOTON_ASSIGN_OR_RETURN(
        const std::unique_ptr<Loader> loader,
        Loader::Create(dataset_, {.batch_sequences = config_.training().batch_sequences(),
                                  .micro_batch_sequences = config_.training().micro_batch_sequences(),
                                  .rank = dp.rank(),
                                  .ranks = dp.size()}));
    loader->Seek(trainer_.state().step());
    while (trainer_.state().step() < last) {
      PHOTON_ASSIGN_OR_RETURN(StepData data, loader->Next());
      PHOTON_ASSIGN_OR_RETURN(const StepMetrics metrics, trainer_.Step(std::move(data.microbatches)));
      steps_.push_back(metrics);
      PHOTON_RETURN_IF_ERROR(trainer_.Verdict());
      PHOTON_RETURN_IF_ERROR(after());
    }
    return absl::OkStatus();
  }
  absl::Status Save() { return checkpoints_.Save(trainer_.state()); }
  // Steps until `last` are done while a save begun here is written; `saved`: what came of it.
  absl::Status SaveBeside(int64_t last, absl::Status* saved) {
    PHOTON_ASSIGN_OR_RETURN(const bool behind, checkpoints_.PrepareAsync());
    if (!behind) return absl::FailedPreconditionError("no room for the copy of a tiny model");
    *saved = checkpoints_.BeginSave(trainer_.state());
    PHOTON_RETURN_IF_ERROR(TrainTo(last, [&]() -> absl::Status {
      PHOTON_ASSIGN_OR_RETURN(const double busy,
                              AllReduceScalar(mesh_.world(), "busy", checkpoints_.working() ? 1 : 0, Reduction::kMax));
      if (busy > 0 || !checkpoints_.save_under_way()) return absl::OkStatus();
      if (const std::optional<absl::Status> ended = checkpoints_.AdvanceSave(); ended.has_value()) *saved = *ended;
      return absl::OkStatus();
    }));
    if (checkpoints_.save_under_way()) *saved = checkpoints_.FinishSave();
    return absl::OkStatus();
  }
  absl::StatusOr<int64_t> Resume() { return ResumeFrom(checkpoints_, trainer_); }
  // Collective where state is sharded.
  Outcome Result() {
    Outcome outcome{.steps = steps_, .master = {}, .m = {}, .v = {}, .compute = {}, .state = trainer_.state()};
    const ParameterSet& set = trainer_.model().parameters();
    const std::unique_ptr<Communicator> self = SelfCommunicator();
    for (const auto& p : set.parameters()) {
      Communicator& sharers = set.sharded() ? mesh_.group(p->spec.placement.summed) : *self;
      for (const auto& [from, to] : {std::pair{p->shard.master, &outcome.master},
                                     {trainer_.optimizer().m(*p), &outcome.m},
                                     {trainer_.optimizer().v(*p), &outcome.v}}) {
        const std::vector<double> values = Whole(*p, from, sharers);
        to->insert(to->end(), values.begin(), values.end());
      }
      // What is computed with is the same everywhere.
      if (p->compute.defined()) {
        const std::vector<double> copy = Doubles(p->compute);
        outcome.compute.insert(outcome.compute.end(), copy.begin(), copy.end());
      }
    }
    return outcome;
  }
  const Arena& arena() const { return arena_; }

 private:
  RunConfig config_;
  Mesh mesh_;
  Arena arena_;
  Context context_;
  Trainer trainer_;
  RunCheckpoints checkpoints_;
  std::shared_ptr<const Dataset> dataset_;
  std::vector<StepMetrics> steps_;
};

// `body` on ranks that are threads; every rank's status. Nothing of the run outlives the call.
using RankBody = std::function<absl::Status(RankRun& run, int rank)>;
inline std::vector<absl::Status> OnTrainingRanks(int ranks, const RunConfig& config,
                                                 const std::shared_ptr<const TokenFile>& tokens, const RankBody& body,
                                                 FileSystem& files = RealFileSystem()) {
  const std::vector<std::unique_ptr<Communicator>> comms = ThreadCommunicators(ranks);
  std::vector<absl::Status> statuses(ranks);
  std::vector<std::thread> threads;
  for (int r = 0; r < ranks; ++r) {
    threads.emplace_back([&, r] {
      omp_set_num_threads(1);  // of this rank: the ranks share the cores
      RankRun run(config, *comms[r], tokens, files);
      statuses[r] = body(run, r);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return statuses;
}

inline void ExpectSameBits(const std::vector<double>& got, const std::vector<double>& want, const char* what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  EXPECT_EQ(memcmp(got.data(), want.data(), got.size() * sizeof(double)), 0) << what;
}

// What rank 0 has after `body`, which must succeed on all ranks; all ranks must end with the same bits.
inline Outcome Train(int ranks, const RunConfig& config, const std::shared_ptr<const TokenFile>& tokens,
                     const RankBody& body) {
  std::vector<Outcome> outcomes(ranks);
  for (const absl::Status& status : OnTrainingRanks(ranks, config, tokens, [&](RankRun&run, int rank) {
         const absl::Status done = body(run, rank);
         outcomes[rank] = run.Result();
         return done;
       })) {
    EXPECT_TRUE(status.ok()) << status;
  }
  for (const Outcome& other : outcomes) {
    ExpectSameBits(other.master, outcomes[0].master, "ranks drifted apart");
    ExpectSameBits(other.compute, outcomes[0].compute, "what ranks compute with drifted apart");
  }
  return outcomes[0];
}

inline Outcome TrainSteps(int ranks, const RunConfig& config, const std::shared_ptr<const TokenFile>& tokens,
                          int64_t steps) {
  return Train(ranks, config, tokens, [steps](RankRun& run, int) { return run.TrainTo(steps); });
}

// Parameters, moments, state, and the metrics of the steps from `first` on; times differ.
inline void ExpectSameBits(const Outcome& got, const Outcome& want, size_t first = 0) {
  ExpectSameBits(got.master, want.master, "parameters");
  ExpectSameBits(got.m, want.m, "first moments");
  ExpectSameBits(got.v, want.v, "second moments");
  EXPECT_EQ(got.state.SerializeAsString(), want.state.SerializeAsString());
  ASSERT_EQ(got.steps.size() + first, want.steps.size());
  for (size_t i = 0; i < got.steps.size(); ++i) {
    const StepMetrics &a = got.steps[i], &b = want.steps[first + i];
    EXPECT_EQ(a.step, b.step);
    EXPECT_EQ(a.loss, b.loss) << "step " << a.step;
    EXPECT_EQ(a.ce, b.ce) << "step " << a.step;
    EXPECT_EQ(a.rec, b.rec) << "step " << a.step;
    EXPECT_EQ(a.lr, b.lr) << "step " << a.step;
    EXPECT_EQ(a.grad_norm, b.grad_norm) << "step " << a.step;
    EXPECT_EQ(a.tokens, b.tokens) << "step " << a.step;
    EXPECT_EQ(a.skipped, b.skipped) << "step " << a.step;
  }
}

}  // namespace photon::testing
