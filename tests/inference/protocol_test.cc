#include "inference/protocol/protocol.h"

#include <gtest/gtest.h>

#include "inference/protocol/paper.h"
#include "model/flops.h"
#include "tests/support/models.h"
#include "tests/support/tensors.h"

namespace photon::testing {
namespace {

TEST(Protocol, FlatModelsAreCountedAsTheFormulaSays) {
  const auto device = *OpenedDevice::Open("cpu");
  Protocol protocol(*device, DType::kF32);
  const TinyModel tiny = {.chunks = {}, .width = 64, .vocab = 100, .layers = 2};
  const auto model = MakeModel(protocol.context(), tiny);
  const ProtocolShape shape = {"DE", 32, 512};
  const ProtocolResult result = protocol.Run(*model, GenerationMode::kHier, shape, {1, 4});
  ASSERT_EQ(result.runs.size(), 2u);
  // Each step reads every weight once but for the embedding, of which it looks up rows.
  const ModelConfig& config = model->config();
  const auto weights = static_cast<double>(model->parameters().count() - config.vocab_size() * config.width()) * 4;
  for (const ProtocolRun& run : result.runs) {
    EXPECT_NEAR(static_cast<double>(run.counts.weight_bytes) / (weights * 512), 1, 0.03);
    // Keys and values of a mean of 32 + 256 positions, each step and layer.
    const double caches = static_cast<double>(run.batch) * 512 * (32 + 256) * 2 * 2 * 64 * 4;
    EXPECT_NEAR(static_cast<double>(run.counts.cache_bytes) / caches, 1, 0.05);
    EXPECT_GT(run.counts.seconds, 0);
    EXPECT_NEAR(run.tokens_per_s * run.seconds, static_cast<double>(run.batch * 512), 1e-6 * 512);
    // Of each sequence the caches of 543 positions in slabs of 64, 2 layers.
    EXPECT_EQ(run.state_bytes, run.batch * 576 * 2 * 2 * 64 * 4);
  }
  // What one more sequence takes: its state, and little more in a model whose logits are few.
  const double state = 576.0 * 2 * 2 * 64 * 4;
  EXPECT_GT(result.memory_per_sequence, state);
  EXPECT_LT(result.memory_per_sequence, 1.35 * state);
  EXPECT_NEAR(result.Tpm(result.runs[0]), result.runs[0].tokens_per_s / 1000 / (result.memory_per_sequence / (1 << 30)),
              1e-9);
}

TEST(Protocol, RecHoldsLessThanHierAndThatLessThanFlat) {
  const auto device = *OpenedDevice::Open("cpu");
  Protocol protocol(*device, DType::kBF16);
  const auto memory = [&](const TinyModel& tiny, GenerationMode mode) {
    const auto model = MakeModel(protocol.context(), tiny, DType::kF32, DType::kBF16);
    const ProtocolResult result = protocol.Run(*model, mode, {"DE", 32, 1024}, {1, 3});
    return static_cast<double>(result.runs[1].state_bytes);
  };
  const TinyModel photon = {.width = 64, .vocab = 32};
  const double flat = memory({.chunks = {}, .width = 64, .vocab = 32, .layers = 4}, GenerationMode::kHier);
  const double hier = memory(photon, GenerationMode::kHier), rec = memory(photon, GenerationMode::kRec);
  EXPECT_LT(hier, flat / 8);
  EXPECT_LT(rec, hier);
}

TEST(PaperTable, RatiosAreThePapers) {
  const PaperFigures* flat = FindInPaper("vanilla-600m", GenerationMode::kHier);
  const PaperFigures* rec = FindInPaper("photon-600m", GenerationMode::kRec);
  ASSERT_TRUE(flat != nullptr && rec != nullptr);
  EXPECT_NEAR(rec->tpm[1] / flat->tpm[1], 1856, 1);  // the abstract's
  for (const PaperFigures& row : PaperTable()) {
    for (int i = 0; i < 2; ++i) EXPECT_NEAR(row.throughput[i] / row.gib[i] / row.tpm[i], 1, 0.1) << row.model;
  }
  EXPECT_EQ(FindInPaper("photon-600m", GenerationMode::kHierParallel), nullptr);
}

}  // namespace
}  // namespace photon::testing
