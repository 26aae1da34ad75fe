// The formulas of what ranks send are what a dry run counts, and a dry run is what a real run counts (dry_run_test.cc).
#include "plan/communication.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "configs/config.h"
#include "plan/dry_run.h"
#include "tests/plan/layout_case.h"
#include "tests/support/config_fields.h"

namespace photon {
namespace {

constexpr char kTinyModel[] = R"(
  model { vocab_size: 96 width: 48 ffn: 72 heads: 8 kv_heads: 4
          levels { chunk: 4 encoder_layers: 2 decoder_layers: 3 } levels { chunk: 3 encoder_layers: 1 decoder_layers: 2 } }
  data { train: "text" sequence_length: 192 }
  training { batch_sequences: 8 micro_batch_sequences: 2 slice_tokens: 96 })";

using Case = testing::LayoutCase;

// Bytes of a step by axes, of every rank.
std::vector<BytesByAxes> Counted(const RunConfig& config, int ranks) {
  const absl::StatusOr<DryRun> run = RunDry(config, ranks, {});
  EXPECT_TRUE(run.ok()) << run.status();
  std::vector<BytesByAxes> counted;
  for (const RankUse& rank : run->ranks) {
    BytesByAxes& bytes = counted.emplace_back();
    for (const auto& [axes, use] : rank.axes) bytes[axes] = use.bytes_sent;
  }
  return counted;
}

class CommunicationTest : public ::testing::TestWithParam<Case> {};

// What does not grow with the number of microbatches (gradients, counts, losses) drops out of the difference.
TEST_P(CommunicationTest, AMicrobatchMoreSendsWhatTheFormulaSays) {
  RunConfig config = testing::WithFields(*ParseRunConfig(kTinyModel, "test"), GetParam().fields);
  const int ranks = GetParam().ranks;
  ASSERT_TRUE(ValidateRun(config, ranks).ok()) << ValidateRun(config, ranks);
  const RunConfig resolved = Resolved(config, ranks);
  RunConfig more = resolved;
  more.mutable_training()->set_batch_sequences(resolved.training().batch_sequences() +
                                               resolved.parallel().dp() * resolved.training().micro_batch_sequences());
  const std::vector<BytesByAxes> before = Counted(resolved, ranks), after = Counted(more, ranks);
  const absl::StatusOr<DryRun> run = RunDry(resolved, ranks, {});
  for (int rank = 0; rank < ranks; ++rank) {
    BytesByAxes difference;
    for (const auto& [axes, bytes] : after[rank]) {
      const auto found = before[rank].find(axes);
      difference[axes] = bytes - (found == before[rank].end() ? 0 : found->second);
    }
    std::erase_if(difference, [](const auto& entry) { return entry.second == 0; });
    EXPECT_EQ(difference, ModelBytes(resolved, run->ranks[rank].at)) << "rank " << rank;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Layouts, CommunicationTest,
    ::testing::Values(
        Case{"dp", 2, {"parallel.dp=2"}}, Case{"cp2", 2, {"parallel.cp=2"}}, Case{"cp4", 4, {"parallel.cp=4"}},
        Case{"cp2_f32", 2, {"parallel.cp=2", "training.dtype=f32"}},
        Case{"cp4_passed_on",
             4,
             {"parallel.cp=4", "parallel.levels.0.spans=PASS_ON", "parallel.levels.1.spans=PASS_ON"}},
        Case{"cp2_replicated_top", 2, {"parallel.cp=2", "parallel.levels.1.spans=REPLICATED"}},
        Case{"cp2_all_shift", 2, {"parallel.cp=2", "model.shift=ALL"}},
        Case{"cp2_grouped", 2, {"parallel.cp=2", "model.encoder_scope=GROUP"}},
        Case{"cp2_own_contents", 2, {"parallel.cp=2", "model.contents=RECONSTRUCTED"}},
        Case{"cp2_recomputed", 2, {"parallel.cp=2", "training.recompute=true"}}, Case{"tp2", 2, {"parallel.tp=2"}},
        Case{"tp4", 4, {"parallel.tp=4"}},
        Case{
            "tp2_tensor", 2, {"parallel.tp=2", "parallel.levels.0.decoder=TENSOR", "parallel.levels.1.decoder=TENSOR"}},
        Case{"tp2_own_contents",
             2,
             {"parallel.tp=2", "parallel.levels.1.decoder=TENSOR", "model.contents=RECONSTRUCTED"}},
        Case{"tp2_sequence",
             2,
             {"parallel.tp=2", "parallel.levels.0.encoder=SEQUENCE", "parallel.levels.1.encoder=SEQUENCE"}},
        Case{"tp2_sequence_below",
             2,
             {"parallel.tp=2", "parallel.levels.0.encoder=SEQUENCE", "parallel.levels.1.decoder=REPLICATED"}},
        Case{"tp2_replicated",
             2,
             {"parallel.tp=2", "parallel.levels.0.encoder=REPLICATED", "parallel.levels.0.decoder=REPLICATED",
              "parallel.levels.1.encoder=SEQUENCE"}},
        Case{"tp2_recomputed", 2, {"parallel.tp=2", "training.recompute=true"}},
        Case{"tp2_whole_vocabulary", 2, {"parallel.tp=2", "parallel.vocabulary=REPLICATED"}},
        Case{"cp2_tp2", 4, {"parallel.cp=2", "parallel.tp=2"}},
        Case{"cp2_tp2_sequence",
             4,
             {"parallel.cp=2", "parallel.tp=2", "parallel.levels.0.encoder=SEQUENCE",
              "parallel.levels.0.spans=PASS_ON"}},
        Case{"dp2_cp2_tp2", 8, {"parallel.dp=2", "parallel.cp=2", "parallel.tp=2"}},
        Case{"flat_cp2", 2, {"parallel.cp=2", "model.levels=", "model.layers=3"}},
        Case{"flat_tp2", 2, {"parallel.tp=2", "model.levels=", "model.layers=3"}},
        Case{"flat_tp2_sequence",
             2,
             {"parallel.tp=2", "model.levels=", "model.layers=3", "parallel.levels.0.encoder=SEQUENCE"}}),
    [](const auto& info) { return info.param.name; });

// Chunk parallelism exchanges keys, values and the shift of coarse levels alone: PHOTON 600M at T = 2048 moves under 8
// % of what the flat model of the same size does.
TEST(Communication, CoarseLevelsMoveLittle) {
  const std::string common = R"(
    data { train: "text" sequence_length: 2048 }
    training { batch_sequences: 4 micro_batch_sequences: 1 }
    parallel { cp: 4 }
    model { vocab_size: 32000 width: 1664 ffn: 4096 heads: 32 )";
  const std::string level = "levels { encoder_layers: 4 decoder_layers: 4 } ";
  const RunConfig photon = Resolved(*ParseRunConfig(common + level + level + "}", "photon"), 4);
  const RunConfig flat = Resolved(*ParseRunConfig(common + "layers: 16 }", "flat"), 4);
  for (int rank = 0; rank < 4; ++rank) {
    MeshCoordinates at;
    at.size = {1, 1, 4, 1};
    at.index = {0, 0, rank, 0};
    const AxisSet cp = {MeshAxis::kCp};
    const auto coarse = static_cast<double>(ModelBytes(photon, at).at(cp));
    const auto whole = static_cast<double>(ModelBytes(flat, at).at(cp));
    EXPECT_LT(coarse, 0.08 * whole) << rank;
    EXPECT_GT(coarse, 0.078 * whole) << rank;  // (1/4 + 1/16) / 4
  }
}

}  // namespace
}  // namespace photon
