// What a dry run says of memory, messages and work is what a real run of the same layout has, to the byte, but for what
// kernels take to work in.
#include "plan/dry_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <omp.h>

#include <mutex>

#include "configs/config.h"
#include "core/backend.h"
#include "model/flops.h"
#include "parallel/mesh.h"
#include "plan/communication.h"
#include "tests/parallel/threads.h"
#include "tests/plan/layout_case.h"
#include "tests/support/config_fields.h"
#include "train/trainer.h"

namespace photon {
namespace {

constexpr char kModel[] = R"(
  model { vocab_size: 96 width: 48 ffn: 72 heads: 4
          levels { chunk: 4 encoder_layers: 2 decoder_layers: 2 } levels { chunk: 3 encoder_layers: 2 decoder_layers: 2 } }
  data { train: "text" sequence_length: 96 }
  training { batch_sequences: 8 micro_batch_sequences: 2 slice_tokens: 96 })";

using Case = testing::LayoutCase;

RunConfig ConfigOf(const Case& c) {
  const RunConfig config = testing::WithFields(*ParseRunConfig(kModel, "test"), c.fields);
  EXPECT_TRUE(ValidateRun(config, c.ranks).ok()) << ValidateRun(config, c.ranks);
  return Resolved(config, c.ranks);
}

std::vector<TokenBatch> Batches(const RunConfig& config, int dp_rank) {
  const int64_t micro = config.training().micro_batch_sequences(), length = config.data().sequence_length();
  const int64_t count = config.training().batch_sequences() / config.parallel().dp() / micro;
  std::vector<TokenBatch> batches;
  for (int64_t b = 0; b < count; ++b) {
    std::vector<int32_t> ids(micro * length);
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>((i * 7 + b + 3 * dp_rank) % 90);
    TokenBatch batch = TokenBatch::FromIds(ids, 1, true);
    batch.sequences = micro;
    batch.length = length;
    for (int64_t i = 0; i < micro * length; ++i) {
      batch.document_begin[i] = config.data().document_mask() && i % length >= 36 ? 36 : 0;
      batch.scored[i] = i % length != 0 && i % length != 36;
    }
    batches.push_back(std::move(batch));
  }
  return batches;
}

struct Real {
  int64_t peak = 0;
  int64_t parameters = 0;
  int64_t sent = 0;     // over all groups, in a step
  BytesByAxes formula;  // the same, as plan/communication.h has it
};

// The CPU's operations, whose kernels work in memory that does not count.
template <auto kEntry, typename... Arguments>
void Run(const Context& context, Arguments... arguments) {
  thread_local Arena scratch;
  (CpuBackend().*kEntry)(Context(context.device(), CpuBackend(), scratch), arguments...);
}

Backend WithoutScratch() {
  Backend b = CpuBackend();
  b.matmul = Run<&Backend::matmul>;
  b.sum_rows = Run<&Backend::sum_rows>;
  b.select_rows_gradient = Run<&Backend::select_rows_gradient>;
  b.rms_norm_forward = Run<&Backend::rms_norm_forward>;
  b.rms_norm_backward = Run<&Backend::rms_norm_backward>;
  b.attention_forward = Run<&Backend::attention_forward>;
  b.attention_backward = Run<&Backend::attention_backward>;
  b.cross_entropy = Run<&Backend::cross_entropy>;
  b.cosine = Run<&Backend::cosine>;
  b.sum_squares = Run<&Backend::sum_squares>;
  b.accumulate_sum = Run<&Backend::accumulate_sum>;
  return b;
}

std::vector<Real> RunReal(const RunConfig& config, int ranks) {
  std::vector<Real> real(ranks);
  photon::testing::OnThreads(ranks, [&](Communicator& comm) {
    omp_set_num_threads(1);
    const Mesh mesh = *Mesh::Create(comm, config.parallel());
    Arena arena;
    const Backend backend = WithoutScratch();
    const Context context({}, backend, arena);
    Trainer trainer(config, mesh, context, arena);
    const auto sent = [&] {
      int64_t bytes = comm.bytes_sent();
      for (const Communicator* group : mesh.groups()) bytes += group->bytes_sent();
      return bytes;
    };
    const int64_t before = sent();
    const auto metrics = trainer.Step(Batches(config, mesh.at().index_of(MeshAxis::kDp)));
    EXPECT_TRUE(metrics.ok()) << metrics.status();
    Real& r = real[comm.rank()];
    r.peak = static_cast<int64_t>(arena.peak());
    r.sent = sent() - before;
    r.formula = *StepBytes(config, mesh.at(), trainer.model().parameters());
    for (const auto& parameter : trainer.model().parameters().parameters()) r.parameters += parameter->elements();
  });
  return real;
}

class DryRunTest : public ::testing::TestWithParam<Case> {};

TEST_P(DryRunTest, IsARealRunButForTheValues) {
  const RunConfig config = ConfigOf(GetParam());
  const std::vector<Real> real = RunReal(config, GetParam().ranks);
  const absl::StatusOr<DryRun> dry = RunDry(config, GetParam().ranks, {.threads = 2});
  ASSERT_TRUE(dry.ok()) << dry.status();
  ASSERT_EQ(dry->ranks.size(), real.size());
  for (size_t rank = 0; rank < real.size(); ++rank) {
    const RankUse& use = dry->ranks[rank];
    SCOPED_TRACE(::testing::Message() << "rank " << rank);
    // What another thread gives back, it gives back sooner or later.
    if (!config.parallel().overlap_reduction()) {
      EXPECT_EQ(use.memory.peak(), real[rank].peak);
    }
    EXPECT_EQ(use.parameters, real[rank].parameters);
    int64_t sent = 0;
    BytesByAxes by_axes;
    for (const auto& [axes, axis] : use.axes) {
      sent += axis.bytes_sent;
      if (axis.bytes_sent > 0) by_axes[axes] = axis.bytes_sent;
    }
    EXPECT_EQ(sent, real[rank].sent);
    EXPECT_EQ(by_axes, real[rank].formula);
    for (const int64_t bytes :
         {use.memory.masters, use.memory.gradients, use.memory.moments, use.memory.tables, use.memory.activations}) {
      EXPECT_GT(bytes, 0);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Layouts, DryRunTest,
    ::testing::Values(
        Case{"alone", 1, {}}, Case{"bf16", 1, {"training.dtype=bf16"}}, Case{"f32", 1, {"training.dtype=f32"}},
        Case{"unmasked", 1, {"data.document_mask=false"}}, Case{"recompute", 1, {"training.recompute=true"}},
        Case{"flat", 1, {"model.levels=", "model.layers=3"}}, Case{"dp2", 2, {"parallel.dp=2"}},
        Case{"dp4", 4, {"parallel.dp=4"}}, Case{"zero1", 2, {"parallel.dp=2", "parallel.shard=OPTIMIZER"}},
        Case{"zero2", 2, {"parallel.dp=2", "parallel.shard=GRADIENTS", "parallel.bucket_mb=0.01"}},
        Case{"zero1_f32",
             4,
             {"parallel.dp=2", "parallel.cp=2", "parallel.shard=OPTIMIZER", "training.dtype=f32",
              "parallel.bucket_mb=0.01"}},
        Case{"zero2_overlapped",
             2,
             {"parallel.dp=2", "parallel.shard=GRADIENTS", "parallel.bucket_mb=0.01",
              "parallel.overlap_reduction=true"}},
        Case{"pp2", 2, {"parallel.pp=2"}}, Case{"pp3", 3, {"parallel.pp=3"}},
        Case{"pp2_encoders", 2, {"parallel.pp=2", "parallel.pipeline.form=ENCODERS"}},
        Case{"pp2_own_contents", 2, {"parallel.pp=2", "model.contents=RECONSTRUCTED"}},
        Case{"pp2_gpipe", 2, {"parallel.pp=2", "parallel.pipeline.schedule=GPIPE"}},
        Case{"flat_pp2", 2, {"parallel.pp=2", "model.levels=", "model.layers=3"}},
        Case{"pp2_tp2", 4, {"parallel.pp=2", "parallel.tp=2", "parallel.levels.1.encoder=SEQUENCE"}},
        Case{
            "pp2_tp2_all_tensor",
            4,
            {"parallel.pp=2", "parallel.tp=2", "parallel.levels.0.decoder=TENSOR", "parallel.levels.1.decoder=TENSOR"}},
        Case{"pp2_cp2_dp2", 8, {"parallel.dp=2", "parallel.pp=2", "parallel.cp=2", "parallel.shard=OPTIMIZER"}},
        Case{"pp2_rec_tp2",
             4,
             {"parallel.pp=2", "parallel.tp=2", "parallel.levels.0.encoder=SEQUENCE",
              "parallel.levels.1.decoder=REPLICATED", "training.objective.alpha=0.3"}},
        Case{"zero1_tp2", 4, {"parallel.dp=2", "parallel.tp=2", "parallel.shard=OPTIMIZER"}},
        Case{"cp2", 2, {"parallel.cp=2"}},
        Case{"cp2_passed_on", 2, {"parallel.cp=2", "parallel.levels.0.spans=PASS_ON"}},
        Case{"cp2_replicated", 2, {"parallel.cp=2", "parallel.levels.1.spans=REPLICATED"}},
        Case{"cp4_shift_all", 4, {"parallel.cp=4", "model.shift=ALL"}}, Case{"tp2", 2, {"parallel.tp=2"}},
        Case{"tp2_all_tensor",
             2,
             {"parallel.tp=2", "parallel.levels.0.decoder=TENSOR", "parallel.levels.1.decoder=TENSOR"}},
        Case{"tp2_sequence",
             2,
             {"parallel.tp=2", "parallel.levels.0.encoder=SEQUENCE", "parallel.levels.1.encoder=SEQUENCE"}},
        Case{"tp2_replicated",
             2,
             {"parallel.tp=2", "parallel.levels.0.encoder=SEQUENCE", "parallel.levels.1.encoder=REPLICATED",
              "parallel.levels.1.decoder=REPLICATED"}},
        Case{"dp2_cp2_tp2", 8, {"parallel.dp=2", "parallel.cp=2", "parallel.tp=2"}},
        Case{"flat_cp2_tp2", 4, {"parallel.cp=2", "parallel.tp=2", "model.levels=", "model.layers=3"}},
        Case{"overlapped", 2, {"parallel.overlap_reduction=true", "parallel.bucket_mb=0.01"}}),
    [](const auto& info) { return info.param.name; });

// Products and attention of the model, as MFU counts them: forward once, backward twice; attention's backward pass does
// half a forward pass more (scores are computed again).
TEST(DryRun, CountsTheWork) {
  const RunConfig config = ConfigOf({"dp2", 2, {"parallel.dp=2"}});
  const DryRun dry = *RunDry(config, 2, {});
  const double model =
      TrainingFlops(config.model(), config.data().sequence_length()) * config.training().batch_sequences();
  const double counted = dry.ranks[0].flops + dry.ranks[1].flops;
  EXPECT_GT(counted, model);
  EXPECT_LT(counted, 1.1 * model);
}

TEST(DryRun, OneReplicaStandsForAll) {
  const RunConfig config = ConfigOf({"dp4", 4, {"parallel.dp=4"}});
  dry::DeviceFigures figures = *dry::FiguresOf("h200");
  dry::FiguredTime time(figures);
  const auto links = [](const dry::TracedCall&, const std::vector<int>& members) { return 0.125 * members.size(); };
  const DryRun all = *RunDry(config, 4, {.time = &time, .links = links});
  const DryRun one = *RunDry(config, 4, {.time = &time, .links = links, .one_replica = true});
  ASSERT_EQ(one.ranks.size(), 1u);
  EXPECT_EQ(one.step_s, all.step_s);
  EXPECT_EQ(one.ranks[0].memory.peak(), all.ranks[0].memory.peak());
  const AxisUse& dp = one.ranks[0].axes.at({MeshAxis::kDp});
  EXPECT_EQ(dp.bytes_sent, all.ranks[0].axes.at({MeshAxis::kDp}).bytes_sent);
  EXPECT_DOUBLE_EQ(dp.communicating, 0.5 * 3);  // counts, gradients, loss
  EXPECT_DOUBLE_EQ(one.step_s, one.ranks[0].computing + dp.communicating);
}

// Every microbatch adds the same: of ones that are not run too.
TEST(DryRun, MicrobatchesAreExtrapolated) {
  RunConfig config = ConfigOf({"all", 8, {"parallel.dp=2", "parallel.cp=2", "parallel.tp=2"}});
  config.mutable_training()->set_batch_sequences(2 * 2 * 23);
  dry::FiguredTime time(*dry::FiguresOf("h200"));
  const auto links = [](const dry::TracedCall& call, const std::vector<int>&) { return 1e-9 * call.sent; };
  const DryRun run = *RunDry(config, 8, {.time = &time, .links = links});
  const DryRun guess = *RunDry(config, 8, {.time = &time, .links = links, .extrapolate = true});
  EXPECT_NEAR(guess.step_s, run.step_s, 1e-9 * run.step_s);
  EXPECT_EQ(guess.calls, run.calls);
  for (size_t i = 0; i < run.ranks.size(); ++i) {
    EXPECT_EQ(guess.ranks[i].memory.peak(), run.ranks[i].memory.peak());
    EXPECT_NEAR(guess.ranks[i].flops, run.ranks[i].flops, 1e-9 * run.ranks[i].flops);
    for (const auto& [axes, use] : run.ranks[i].axes) {
      EXPECT_EQ(guess.ranks[i].axes.at(axes).bytes_sent, use.bytes_sent);
    }
  }
}

}  // namespace
}  // namespace photon
