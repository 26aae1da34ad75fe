#include "configs/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "configs/nearest.h"
#include "tests/support/temporary_folder.h"

namespace photon {
namespace {

using ::testing::HasSubstr;

std::string ConfigError(const std::string& text) {
  const absl::StatusOr<RunConfig> config = ParseRunConfig(text, "run.textproto");
  EXPECT_FALSE(config.ok());
  return config.ok() ? "" : std::string(config.status().message());
}

std::string OverrideError(const std::string& assignment) {
  RunConfig config = *ParseRunConfig("model { levels { } levels { } }", "run.textproto");
  const absl::Status status = ApplyOverride(assignment, &config);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << assignment;
  return std::string(status.message());
}

TEST(EditDistance, CountsEdits) {
  EXPECT_EQ(EditDistance("width", "width"), 0);
  EXPECT_EQ(EditDistance("", "abc"), 3);
  EXPECT_EQ(EditDistance("widht", "width"), 1);  // a swap is one edit
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3);
}

TEST(DidYouMean, ListsAllWhereNoneIsNear) {
  EXPECT_EQ(DidYouMean("TOPP", {"TOP", "ALL"}), "; did you mean \"TOP\"?");
  EXPECT_EQ(DidYouMean("top", {"ALL", "TOP"}), "; did you mean \"TOP\"?");
  EXPECT_EQ(DidYouMean("zzzzzz", {"TOP", "ALL"}), "; known: TOP, ALL");
  EXPECT_EQ(DidYouMean("x", {}), "");
}

TEST(ParseRunConfig, UnknownFieldNamesLineAndNearest) {
  EXPECT_EQ(ConfigError("run_dir: \"a\"\nmodel {\n  heads: 4\n  widht: 5\n}\n"),
            "run.textproto:4: ModelConfig has no field \"widht\"; did you mean \"width\"?");
  EXPECT_EQ(ConfigError("modle { width: 5 }"),
            "run.textproto:1: RunConfig has no field \"modle\"; did you mean \"model\"?");
  EXPECT_EQ(ConfigError("model {\n\n  levels { chunks: 4 } }"),
            "run.textproto:3: LevelConfig has no field \"chunks\"; did you mean \"chunk\"?");
}

TEST(ParseRunConfig, UnknownEnumValueNamesItsOwnLine) {
  EXPECT_EQ(ConfigError("model {\n  shift: TOPP\n\n  width: 4\n}"),
            "run.textproto:2: shift has no value \"TOPP\"; did you mean \"TOP\"?");
}

TEST(ParseRunConfig, OtherErrorsNameTheLine) {
  EXPECT_THAT(ConfigError("model {\n  width: wide\n}"), HasSubstr("run.textproto:2: "));
  EXPECT_THAT(ConfigError("model {\n  width: 1\n  width: 2\n}"), HasSubstr("run.textproto:3: "));
  EXPECT_THAT(ConfigError("model {\n  width: 1\n"), HasSubstr("run.textproto:"));
  EXPECT_THAT(ConfigError("model { width: 99999999999 }"), HasSubstr("Integer out of range"));
}

TEST(LoadRunConfig, MissingFileAndFolder) {
  const absl::StatusOr<RunConfig> missing = LoadRunConfig("/no/such.textproto");
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.status().message()), HasSubstr("/no/such.textproto: No such file"));
  EXPECT_EQ(LoadRunConfig("/tmp").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(LoadRunConfig, AppliesOverridesInOrder) {
  const testing::TemporaryFolder folder;
  const std::string path = folder / "overrides.textproto";
  std::ofstream(path) << "model { width: 64 }";
  EXPECT_EQ(LoadRunConfig(path, {"model.width=96", "model.width=128"})->model().width(), 128);
  EXPECT_FALSE(LoadRunConfig(path, {"model.width=96", "nothing"}).ok());
  std::filesystem::remove(path);
}

TEST(ApplyOverride, SetsEveryKindOfField) {
  RunConfig config = *ParseRunConfig("model { levels { chunk: 4 } levels { chunk: 4 } }", "t");
  for (const char* assignment :
       {"model.width=96", "model.levels.1.chunk=2", "model.shift=ALL", "model.rope_theta=5e5",
        "data.document_mask=false", "run_dir=runs/a=b", "data.train=\"with space\"",
        "training.seed=18446744073709551615", "training.steps=9000000000", "training.optimizer.peak_lr=-1e-3"}) {
    EXPECT_TRUE(ApplyOverride(assignment, &config).ok()) << assignment << ": " << ApplyOverride(assignment, &config);
  }
  EXPECT_EQ(config.model().width(), 96);
  EXPECT_EQ(config.model().levels(0).chunk(), 4);
  EXPECT_EQ(config.model().levels(1).chunk(), 2);
  EXPECT_EQ(config.model().shift(), ModelConfig::ALL);
  EXPECT_EQ(config.model().rope_theta(), 5e5);
  EXPECT_FALSE(config.data().document_mask());
  EXPECT_EQ(config.run_dir(), "runs/a=b");
  EXPECT_EQ(config.data().train(), "with space");
  EXPECT_EQ(config.training().seed(), UINT64_MAX);
  EXPECT_EQ(config.training().steps(), 9000000000);
  EXPECT_EQ(config.training().optimizer().peak_lr(), -1e-3);
}

TEST(ApplyOverride, EmptyValueClears) {
  RunConfig config = *ParseRunConfig("model { width: 7 levels { } } data { valid: \"v\" }", "t");
  ASSERT_TRUE(ApplyOverride("model.levels=", &config).ok());
  ASSERT_TRUE(ApplyOverride("model.width=", &config).ok());
  ASSERT_TRUE(ApplyOverride("data=", &config).ok());
  EXPECT_EQ(config.model().levels_size(), 0);
  EXPECT_FALSE(config.model().has_width());
  EXPECT_FALSE(config.has_data());
}

TEST(ApplyOverride, ListsALevelsLayout) {
  RunConfig config;
  ASSERT_TRUE(ApplyOverride("parallel.levels.1.encoder=SEQUENCE", &config).ok());
  ASSERT_EQ(config.parallel().levels_size(), 2);
  EXPECT_FALSE(config.parallel().levels(0).has_encoder());
  EXPECT_EQ(config.parallel().levels(1).encoder(), EncoderLayout::SEQUENCE);
  EXPECT_FALSE(ApplyOverride("parallel.levels.-1.encoder=SEQUENCE", &config).ok());
  EXPECT_FALSE(ApplyOverride("parallel.levels.1000000.encoder=SEQUENCE", &config).ok());
}

TEST(ApplyOverride, ErrorsSayWhatToDo) {
  EXPECT_EQ(OverrideError("model.widht=5"),
            "--set model.widht=5: ModelConfig has no field \"widht\"; did you mean \"width\"?");
  EXPECT_EQ(OverrideError("model.levels.2.chunk=5"),
            "--set model.levels.2.chunk=5: levels.2 is out of range: the config has 2 entries, numbered 0 to 1; "
            "add entries in the config file");
  EXPECT_THAT(OverrideError("model.levels.-1.chunk=5"), HasSubstr("out of range"));
  EXPECT_THAT(OverrideError("model.levels.chunk=5"), HasSubstr("levels is a list: give the number of an entry"));
  EXPECT_THAT(OverrideError("model.levels.0=5"), HasSubstr("set one of its fields, as in levels.0.chunk"));
  EXPECT_THAT(OverrideError("model.levels=5"), HasSubstr("levels is a list"));
  EXPECT_THAT(OverrideError("model=5"), HasSubstr("model is a group"));
  EXPECT_THAT(OverrideError("model.width.x=5"), HasSubstr("width is a single value"));
  EXPECT_THAT(OverrideError("model.width=wide"), HasSubstr("takes a value of type int32, not \"wide\""));
  EXPECT_THAT(OverrideError("model.width=1 2"), HasSubstr("int32"));
  EXPECT_THAT(OverrideError("model.width=99999999999"), HasSubstr("int32"));
  EXPECT_THAT(OverrideError("model.shift=TPO"), HasSubstr("did you mean \"TOP\"?"));
  EXPECT_THAT(OverrideError("data.document_mask=maybe"), HasSubstr("bool"));
  EXPECT_THAT(OverrideError("model.width"), HasSubstr("field=value"));
  EXPECT_THAT(OverrideError("=5"), HasSubstr("field=value"));
  EXPECT_THAT(OverrideError("model..width=5"), HasSubstr("no field \"\""));
}

TEST(Resolved, WritesEveryDefault) {
  const RunConfig resolved = Resolved(
      *ParseRunConfig("model { heads: 6 levels { chunk: 3 } levels { } } training { batch_sequences: 12 }", "t"), 4);
  EXPECT_TRUE(resolved.has_run_dir());
  EXPECT_EQ(resolved.model().kv_heads(), 6);
  EXPECT_EQ(resolved.data().align(), 12);
  EXPECT_EQ(resolved.training().micro_batch_sequences(), 3);
  EXPECT_EQ(resolved.parallel().dp(), 4);
  EXPECT_TRUE(resolved.model().levels(1).has_encoder_layers());
  EXPECT_TRUE(resolved.training().objective().has_stop_gradient());
  EXPECT_TRUE(resolved.training().health().has_max_skipped_in_row());
  EXPECT_TRUE(resolved.checkpoint().has_keep_last());
  EXPECT_FALSE(resolved.data().has_valid());
  EXPECT_FALSE(resolved.model().has_layers());
  EXPECT_THAT(ToText(resolved), HasSubstr("beta2: 0.95"));
  EXPECT_THAT(ToText(resolved), HasSubstr("shift: TOP"));
}

TEST(Resolved, KeepsWhatIsSetAndIsIdempotent) {
  const RunConfig config = *ParseRunConfig(
      "model { heads: 6 kv_heads: 2 layers: 3 } data { align: 1 } training { micro_batch_sequences: 2 } ", "t");
  const RunConfig once = Resolved(config, 2);
  EXPECT_EQ(once.model().kv_heads(), 2);
  EXPECT_EQ(once.data().align(), 1);
  EXPECT_EQ(once.training().micro_batch_sequences(), 2);
  EXPECT_EQ(ToText(Resolved(once, 2)), ToText(once));
}

// Where state is shared out, buckets grow with the ranks that share, unless their size is set.
TEST(Resolved, BucketsOfManyRanks) {
  const auto bucket_mb = [](const std::string& parallel, int ranks) {
    const std::string text = "model { layers: 1 } parallel { " + parallel + " }";
    return Resolved(*ParseRunConfig(text, "t"), ranks).parallel().bucket_mb();
  };
  EXPECT_EQ(bucket_mb("", 64), 8);
  EXPECT_EQ(bucket_mb("shard: OPTIMIZER", 4), 8);
  EXPECT_EQ(bucket_mb("shard: OPTIMIZER tp: 2 cp: 2", 64), 32);
  EXPECT_EQ(bucket_mb("shard: GRADIENTS bucket_mb: 3", 64), 3);
}

TEST(ToText, ReadsBackAsTheSame) {
  RunConfig config =
      *ParseRunConfig("run_dir: \"a \\\"b\\\" \\n\" model { rope_theta: 0.1 norm_eps: 1.0000000000000002 }", "t");
  config = Resolved(config, 1);
  const absl::StatusOr<RunConfig> again = ParseRunConfig(ToText(config), "t");
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->SerializeAsString(), config.SerializeAsString());
}

}  // namespace
}  // namespace photon
