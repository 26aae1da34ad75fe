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
  const ProtocolResult result = *protocol.Run(*model, GenerationMode::kHier, shape, {1, 4});
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
  EXPECT_GE(result.memory_per_sequence, state);
  EXPECT_LT(result.memory_per_sequence, 1.35 * state);
  EXPECT_NEAR(result.Tpm(result.runs[0]), result.runs[0].tokens_per_s / 1000 / (result.memory_per_sequence / (1 << 30)),
              1e-9);
}

TEST(Protocol, RecHoldsLessThanHierAndThatLessThanFlat) {
  const auto device = *OpenedDevice::Open("cpu");
  Protocol protocol(*device, DType::kBF16);
  const auto memory = [&](const TinyModel& tiny, GenerationMode mode) {
    const auto model = MakeModel(protocol.context(), tiny, DType::kF32, DType::kBF16);
    const ProtocolResult result = *protocol.Run(*model, mode, {"DE", 32, 1024}, {1, 3});
    return static_cast<double>(result.runs[1].state_bytes);
  };
  const TinyModel photon = {.width = 64, .vocab = 32};
  const double flat = memory({.chunks = {}, .width = 64, .vocab = 32, .layers = 4}, GenerationMode::kHier);
  const double hier = memory(photon, GenerationMode::kHier), rec = memory(photon, GenerationMode::kRec);
  EXPECT_LT(hier, flat / 8);
  EXPECT_LT(rec, hier);
}

// A diverged model must not end the program, which may have measured others.
TEST(Protocol, LogitsThatAreNoNumbersAreAnError) {
  const auto device = *OpenedDevice::Open("cpu");
  Protocol protocol(*device, DType::kF32);
  const auto model = MakeModel(protocol.context(), {});
  MakeNan(protocol.context(), *model);
  const auto result = protocol.Run(*model, GenerationMode::kHier, {"DE", 4, 64}, {1, 2}, Roofline::kLeftOut);
  EXPECT_EQ(result.status().code(), absl::StatusCode::kDataLoss) << result.status();
}

// Prompts are so long that they are read in four steps of the engine, and few tokens follow each.
TEST(Protocol, ABatchRunsSideBySide) {
  const auto device = *OpenedDevice::Open("cpu");
  Protocol protocol(*device, DType::kF32);
  const auto run = [&](const LanguageModel& model, GenerationMode mode, int64_t prompt) {
    const ProtocolResult result = *protocol.Run(model, mode, {"PF", prompt, 64}, {1, 8});
    EXPECT_EQ(result.runs[1].state_bytes, 8 * result.runs[0].state_bytes) << Name(mode);
    return result.runs;
  };
  const auto flat = MakeModel(protocol.context(), {.chunks = {}, .width = 64, .vocab = 100, .layers = 2});
  // Embeddings are looked up, and gains (two a layer, one at the end) are no products.
  const int64_t head = int64_t{100} * 64 * 4, gains = int64_t{5} * 64 * 4;
  const int64_t body = flat->parameters().count() * 4 - 2 * head - gains;
  // The flat model reads 16 tokens at a time, and what is left of the prompt, but for its last token, on its own.
  const std::vector<ProtocolRun> flat_runs = run(*flat, GenerationMode::kHier, 1040);
  EXPECT_EQ(flat_runs[0].counts.weight_bytes, body * (1 + 1 + 64) + head * 64);
  EXPECT_EQ(flat_runs[1].counts.weight_bytes, body * (4 + 4 + 64) + head * 64);

  const auto photon = MakeModel(protocol.context(), {.width = 64, .vocab = 100});
  for (const GenerationMode mode : {GenerationMode::kHier, GenerationMode::kHierParallel, GenerationMode::kRec}) {
    const std::vector<ProtocolRun> runs = run(*photon, mode, 1024);
    // The same steps behind the prompts, which are read in three more: by encoders and chunkers, less than all.
    const int64_t more = runs[1].counts.weight_bytes - runs[0].counts.weight_bytes;
    EXPECT_GT(more, 0) << Name(mode);
    EXPECT_LT(more, 3 * photon->parameters().count() * 4) << Name(mode);
  }
}

// What a mode by meta-contexts writes is a whole number of these, of which the prompt's reading writes none.
TEST(Protocol, WholeMetaContextsAreCounted) {
  const auto device = *OpenedDevice::Open("cpu");
  Protocol protocol(*device, DType::kF32);
  const auto model = MakeModel(protocol.context(), {.width = 64, .vocab = 100});
  const auto flops = [&](int64_t tokens) {
    return protocol.Run(*model, GenerationMode::kHierParallel, {"PF", 512, tokens}, {1, 2})->runs[0].counts.flops;
  };
  const double one = flops(16), two = flops(32);
  EXPECT_EQ(flops(1), one);
  EXPECT_NEAR((flops(128) - one) / (two - one), 7, 0.1);  // caches grow
}

TEST(Protocol, BatchesOfThousands) {
  const auto device = *OpenedDevice::Open("cpu");
  Protocol protocol(*device, DType::kF32);
  const auto model = MakeModel(protocol.context(), {.chunks = {}});
  const ProtocolResult result = *protocol.Run(*model, GenerationMode::kHier, {"DE", 2, 3}, {1, 1500});
  EXPECT_EQ(result.runs[1].state_bytes, 1500 * result.runs[0].state_bytes);
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
