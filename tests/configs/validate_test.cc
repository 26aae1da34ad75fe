// Every impossible config is refused with a message that names the field and the remedy.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "configs/config.h"
#include "configs/model_config.h"

namespace photon {
namespace {

using ::testing::HasSubstr;

constexpr char kGood[] = R"(
  model { vocab_size: 100 width: 48 ffn: 40 heads: 4 levels { chunk: 4 } levels { chunk: 3 } }
  data { train: "text" sequence_length: 48 }
  training { batch_sequences: 12 })";

struct Bad {
  std::vector<std::string> overrides;
  std::string field, remedy;
};

void PrintTo(const Bad& bad, std::ostream* out) { *out << bad.overrides.front(); }

class Refused : public ::testing::TestWithParam<Bad> {};

TEST_P(Refused, NamesFieldAndRemedy) {
  RunConfig config = *ParseRunConfig(kGood, "good");
  for (const std::string& assignment : GetParam().overrides)
    ASSERT_TRUE(ApplyOverride(assignment, &config).ok()) << assignment;
  const absl::Status status = ValidateRun(config, 2);
  ASSERT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().field));
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().remedy));
}

INSTANTIATE_TEST_SUITE_P(
    Model, Refused,
    ::testing::Values(
        Bad{{"model.heads=5"}, "model.width = 48 is not a multiple of model.heads = 5", "use 45 or 50"},
        Bad{{"model.heads=16"}, "heads of odd size 3", "use 32 or 64"},
        Bad{{"model.heads=96"}, "model.width = 48 is not a multiple", "use 96"},
        Bad{{"model.levels.0.chunk=5", "data.sequence_length=60"}, "model.levels.0.chunk = 5", "use 45 or 50"},
        Bad{{"model.kv_heads=5"}, "model.kv_heads = 5", "use at most 4"},
        Bad{{"model.kv_heads=0"}, "model.kv_heads = 0", "leave it out"},
        Bad{{"model.heads=0"}, "model.heads = 0", "use 1 or more"},
        Bad{{"model.width=-8"}, "model.width = -8", "use 1 or more"},
        Bad{{"model.ffn=0"}, "model.ffn = 0", "use 1 or more"},
        Bad{{"model.vocab_size=0"}, "model.vocab_size", "use 1 or more"},
        Bad{{"model.levels.0.chunk=0"}, "model.levels.0.chunk = 0", "use 1 or more"},
        Bad{{"model.levels.1.prefix=0"}, "model.levels.1.prefix = 0", "use 1 or more"},
        Bad{{"model.levels.1.encoder_layers=0"}, "model.levels.1.encoder_layers", "use 1 or more"},
        Bad{{"model.levels.0.decoder_layers=-1"}, "model.levels.0.decoder_layers", "use 1 or more"},
        Bad{{"model.levels.0.chunk=65536", "model.levels.1.chunk=65536"}, "model.levels.1.chunk", "use smaller chunks"},
        Bad{{"model.layers=3"}, "model.layers = 3", "remove model.layers"},
        Bad{{"model.levels="}, "model.levels and model.layers are both missing", "layers for a flat one"},
        Bad{{"model.levels=", "model.layers=0"}, "model.layers = 0", "use 1 or more"},
        Bad{{"model.levels=", "model.layers=10001"}, "model.layers = 10001", "use 10000 or less"},
        Bad{{"model.levels.0.encoder_layers=2000000000"}, "model.levels.0.encoder_layers", "use 10000 or less"},
        Bad{{"model.levels.1.decoder_layers=10001"}, "model.levels.1.decoder_layers", "use 10000 or less"},
        Bad{{"model.levels.1.prefix=65537"}, "model.levels.1.prefix", "use 65536 or less"},
        Bad{{"model.vocab_size=2147483647"}, "model.vocab_size", "use 16777216 or less"},
        Bad{{"model.width=2147483640"}, "model.width", "use 262144 or less"},
        Bad{{"model.ffn=2147483647"}, "model.ffn", "use 1048576 or less"},
        Bad{{"model.rope_theta=0"}, "model.rope_theta", "above 0"},
        Bad{{"model.norm_eps=nan"}, "model.norm_eps", "above 0"}));

INSTANTIATE_TEST_SUITE_P(
    Data, Refused,
    ::testing::Values(
        Bad{{"data.train="}, "data.train is missing", "photon prepare"},
        Bad{{"data.sequence_length=50"},
            "data.sequence_length = 50 is not a multiple of the 12 tokens",
            "use 48 or 60"},
        Bad{{"data.sequence_length=7"}, "data.sequence_length = 7", "use 12"},
        Bad{{"data.sequence_length=0"}, "data.sequence_length = 0", "use 1 or more"},
        Bad{{"data.align=1"}, "data.align = 1 is not a multiple of the 12 tokens", "document_mask: false"},
        Bad{{"data.align=36"}, "data.align = 36 does not divide data.sequence_length = 48", "use 12"},
        Bad{{"data.align=0"}, "data.align = 0", "use 1 or more"},
        Bad{{"data.align=5", "data.document_mask=false"}, "data.align = 5 does not divide", "use 12"},
        Bad{{"data.valid_fraction=1"}, "data.valid_fraction = 1", "from 0 to below 1"}));

INSTANTIATE_TEST_SUITE_P(
    Training, Refused,
    ::testing::Values(
        Bad{{"training.batch_sequences=13"}, "training.batch_sequences = 13", "use 12 or 14"},
        Bad{{"training.batch_sequences=1"}, "evenly by 2 data-parallel ranks", "use 2"},
        Bad{{"training.batch_sequences=0"}, "training.batch_sequences = 0", "use 1 or more"},
        Bad{{"training.micro_batch_sequences=4"}, "training.micro_batch_sequences = 4", "use a divisor of 6"},
        Bad{{"training.micro_batch_sequences=0"}, "training.micro_batch_sequences = 0", "use 1 or more"},
        Bad{{"training.dtype=fp16"}, "training.dtype = \"fp16\"", "use \"bf16\" or \"f32\""},
        // Prefix 2: 5 positions for the 4 tokens of a chunk, 61440 a sequence; prefix 9: 12 for 4, 36864 a sequence.
        Bad{{"data.sequence_length=49152", "training.batch_sequences=69906"},
            "training.micro_batch_sequences = 34953 makes tables of 2.1",
            "row indices are 32-bit; lower training.micro_batch_sequences"},
        Bad{{"data.sequence_length=12288", "training.batch_sequences=116510", "model.levels.0.prefix=9",
             "training.micro_batch_sequences=58255"},
            "training.micro_batch_sequences = 58255",
            "row indices are 32-bit"},
        Bad{{"training.steps=0"}, "training.steps = 0", "use 1 or more"},
        Bad{{"training.slice_tokens=0"}, "training.slice_tokens", "use 1 or more"},
        Bad{{"training.log_every=0"}, "training.log_every", "use 1 or more"},
        Bad{{"training.valid_every=-1"}, "training.valid_every", "use 0 or more"},
        Bad{{"training.objective.alpha=-0.1"}, "training.objective.alpha = -0.1", "use 0 or more"},
        Bad{{"training.optimizer.peak_lr=-1"}, "training.optimizer.peak_lr = -1", "use 0 or more"},
        Bad{{"training.optimizer.peak_lr=nan"}, "training.optimizer.peak_lr = nan", "use 0 or more"},
        Bad{{"training.optimizer.peak_lr=inf"}, "training.optimizer.peak_lr = inf", "use 0 or more"},
        Bad{{"training.optimizer.final_lr_fraction=1.5"}, "final_lr_fraction = 1.5", "from 0 to 1"},
        Bad{{"training.optimizer.beta2=1"}, "training.optimizer.beta2 = 1", "below 1"},
        Bad{{"training.optimizer.eps=0"}, "training.optimizer.eps", "above 0"},
        Bad{{"training.optimizer.clip_norm=-1"}, "training.optimizer.clip_norm", "use 0 or more"},
        Bad{{"training.health.spike_factor=0.5"}, "training.health.spike_factor", "above 1, or 0"},
        Bad{{"training.health.max_skipped_in_row=-1"}, "max_skipped_in_row", "use 0 or more"},
        Bad{{"checkpoint.every=-1"}, "checkpoint.every", "use 0 or more"},
        Bad{{"checkpoint.keep_last=-1"}, "checkpoint.keep_last", "use 0 or more"},
        Bad{{"parallel.dp=3"}, "= 3, but the job has 2 rank(s)", "start 3, or set parallel.dp = 2"},
        Bad{{"parallel.collective_timeout_s=0"}, "parallel.collective_timeout_s", "above 0"},
        Bad{{"parallel.bucket_mb=0"}, "parallel.bucket_mb", "above 0"},
        Bad{{"parallel.bucket_mb=1e300"}, "parallel.bucket_mb = 1e+300", "use 1e+06 or less"},
        Bad{{"parallel.bucket_mb=inf"}, "parallel.bucket_mb = inf", "above 0"},
        Bad{{"training.early_stop.patience=-1"}, "training.early_stop.patience = -1", "use 0 or more"},
        Bad{{"training.early_stop.patience=3", "training.valid_every=0"},
            "training.early_stop.patience = 3",
            "set training.valid_every"},
        Bad{{"training.early_stop.patience=3", "data.valid_fraction=0"},
            "training.early_stop.patience = 3",
            "set data.valid_fraction or data.valid"},
        Bad{{"run_dir=\"\""}, "run_dir is empty", "name the folder"}));

TEST(ValidateRun, AcceptsPossibleConfigs) {
  for (const std::vector<std::string>& overrides : std::vector<std::vector<std::string>>{
           {},
           {"model.kv_heads=1"},
           {"model.kv_heads=3"},  // head h uses key/value head floor(h * 3 / 4)
           {"data.align=1", "data.document_mask=false"},
           {"data.align=24"},
           {"model.levels=", "model.layers=2", "data.align=1"},
           {"model.levels=", "model.layers=2", "data.sequence_length=50"},
           {"training.micro_batch_sequences=3"},
           {"training.optimizer.warmup_steps=5000", "training.steps=1"},
           {"model.levels.0.chunk=1", "model.levels.1.chunk=1", "data.sequence_length=7"},
           {"data.sequence_length=49152", "training.batch_sequences=69904"},  // 34952 * 61440 < 2^31
           {"data.sequence_length=12288", "training.batch_sequences=116508", "model.levels.0.prefix=9"},
           {"training.early_stop.patience=3"},
           {"training.early_stop.patience=3", "data.valid_fraction=0", "data.valid=held-out"},
           {"training.valid_every=0", "data.valid_fraction=0"},
           {"parallel.bucket_mb=1e6"},
           {"parallel.dp=2"}}) {
    RunConfig config = *ParseRunConfig(kGood, "good");
    for (const std::string& assignment : overrides) ASSERT_TRUE(ApplyOverride(assignment, &config).ok()) << assignment;
    EXPECT_TRUE(ValidateRun(config, 2).ok()) << ValidateRun(config, 2);
    EXPECT_TRUE(ValidateRun(Resolved(config, 2), 2).ok()) << ValidateRun(Resolved(config, 2), 2);
  }
}

TEST(ValidateModel, RefusesTooManyLevels) {
  ModelConfig model = ParseRunConfig(kGood, "good")->model();
  while (model.levels_size() < 16) model.add_levels()->set_chunk(1);
  EXPECT_TRUE(ValidateModel(model).ok()) << ValidateModel(model);
  model.add_levels()->set_chunk(1);
  EXPECT_THAT(std::string(ValidateModel(model).message()), HasSubstr("model.levels = 17"));
}

TEST(ModelConfig, DerivedNumbers) {
  const ModelConfig model = ParseRunConfig(kGood, "good")->model();
  EXPECT_EQ(ChunkProduct(model, 0), 1);
  EXPECT_EQ(ChunkProduct(model, 1), 4);
  EXPECT_EQ(ChunkProduct(model), 12);
  EXPECT_EQ(KvHeads(model), 4);
  EXPECT_EQ(HeadDim(model), 12);
}

}  // namespace
}  // namespace photon
