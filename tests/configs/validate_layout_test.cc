// Layouts that a model can't have are refused with the reason, the remedy and the nearest ones that it can.
#include "configs/validate_layout.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "configs/config.h"

namespace photon {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// 8 sequences of 96 tokens: 24 level-1 units of 4 and 8 level-2 units of 12.
constexpr char kGoodLayout[] = R"(
  model { vocab_size: 96 width: 48 ffn: 48 heads: 6 kv_heads: 6
          levels { chunk: 4 encoder_layers: 2 decoder_layers: 3 } levels { chunk: 3 encoder_layers: 2 decoder_layers: 1 } }
  data { train: "text" sequence_length: 96 }
  training { batch_sequences: 8 micro_batch_sequences: 1 })";

RunConfig With(const std::vector<std::string>& overrides) {
  RunConfig config = *ParseRunConfig(kGoodLayout, "good");
  for (const std::string& assignment : overrides) EXPECT_TRUE(ApplyOverride(assignment, &config).ok()) << assignment;
  return config;
}

// Repeated messages can't be added to by overrides.
LevelLayout* AddLevel(RunConfig& config, EncoderLayout::Kind encoder, DecoderLayout::Kind decoder) {
  LevelLayout* level = config.mutable_parallel()->add_levels();
  level->set_encoder(encoder);
  level->set_decoder(decoder);
  return level;
}

struct BadLayout {
  int ranks;
  std::vector<std::string> overrides;
  std::string reason, remedy;
};

void PrintTo(const BadLayout& bad, std::ostream* out) { *out << bad.ranks << " ranks, " << bad.overrides.front(); }

class RefusedLayout : public ::testing::TestWithParam<BadLayout> {};

TEST_P(RefusedLayout, NamesReasonRemedyAndLayoutsThatFit) {
  const RunConfig config = With(GetParam().overrides);
  const absl::Status status = ValidateRun(config, GetParam().ranks);
  ASSERT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().reason));
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().remedy));
}

INSTANTIATE_TEST_SUITE_P(
    All, RefusedLayout,
    ::testing::Values(
        BadLayout{
            4, {"parallel.dp=2"}, "2 * 1 * 1 * 1 = 2, but the job has 4 rank(s)", "fit: dp 4, pp 1, cp 1, tp 1; dp 2"},
        BadLayout{4, {"parallel.tp=3"}, "= 3 does not divide the 4 rank(s)", "start 3 or 6"},
        BadLayout{4, {"parallel.pp=0"}, "parallel.pp = 0 is out of range", "use 1 or more"},
        BadLayout{4, {"parallel.cp=1000000"}, "parallel.cp = 1000000 is out of range", "use 32768 or less"},
        BadLayout{3, {"parallel.dp=3"}, "training.batch_sequences = 8 can't be shared evenly by 3", "use 6 or 9"},
        BadLayout{2, {"training.micro_batch_sequences=3"}, "does not divide a rank's 4 sequences", "a divisor of 4"},
        BadLayout{16, {"parallel.cp=16"}, "parallel.cp = 16 can't cut data.sequence_length = 96", "use a divisor of 8"},
        BadLayout{4, {"parallel.tp=4"}, "parallel.tp = 4 does not divide model.heads = 6", "use a divisor of 6"},
        BadLayout{
            2, {"parallel.tp=2", "model.kv_heads=3"}, "does not divide model.kv_heads = 3", "SEQUENCE or REPLICATED"},
        BadLayout{2, {"parallel.tp=2", "model.ffn=47"}, "does not divide model.ffn = 47", "encoder TENSOR"},
        BadLayout{2, {"parallel.tp=2", "model.vocab_size=95"}, "does not divide model.vocab_size = 95", "REPLICATED"},
        BadLayout{2,
                  {"parallel.pp=2", "training.micro_batch_sequences=8"},
                  "makes 1 microbatch(es)",
                  "use 4 or a smaller divisor of 8"},
        BadLayout{16, {"parallel.pp=2", "parallel.dp=8"}, "makes 1 microbatch(es)", "batch_sequences of 16 or more"},
        BadLayout{5, {"parallel.pp=5"}, "more stages than the model has encoder layers, 4", "use 4 or less"},
        BadLayout{4,
                  {"parallel.pp=4", "model.levels.0.decoder_layers=2"},
                  "more stages than the model has decoder layers, 3",
                  "use 3 or less"},
        BadLayout{4,
                  {"parallel.pp=4", "model.levels.1.decoder_layers=8", "model.levels.0.decoder_layers=2",
                   "model.contents=RECONSTRUCTED"},
                  "pieces of decoders (contents RECONSTRUCTED: above level 1 they can't be cut), 3",
                  "use 3 or less"},
        BadLayout{4, {"parallel.pp=4", "model.levels=", "model.layers=3"}, "more pieces, 7", "use 2 or"},
        BadLayout{2,
                  {"parallel.pp=2", "model.levels=", "model.layers=3", "parallel.pipeline.form=ENCODERS"},
                  "needs a model with levels",
                  "use FOLDED"}));

TEST(ValidateLayout, EveryAxisFits) {
  for (const char* axis : {"dp", "pp", "cp", "tp"}) {
    const RunConfig config = With({std::string("parallel.") + axis + "=2"});
    EXPECT_TRUE(ValidateRun(config, 2).ok()) << axis << ValidateRun(config, 2);
  }
  EXPECT_TRUE(ValidateRun(With({"parallel.pp=2", "parallel.cp=2", "parallel.tp=2"}), 16).ok());
}

TEST(ValidateLayout, EncodersFormNeedsNoDecoderLayerForEachStage) {
  const std::vector<std::string> deep = {"parallel.pp=4", "model.levels.0.decoder_layers=2"};
  EXPECT_FALSE(ValidateLayout(With(deep), 4).ok());
  RunConfig config = With(deep);
  config.mutable_parallel()->mutable_pipeline()->set_form(PipelineConfig::ENCODERS);
  EXPECT_TRUE(ValidateLayout(config, 4).ok());
}

TEST(ValidateLayout, LevelsCountFromTheLowest) {
  // 24 level-1 units can be shared by 3, and 8 level-2 units can't.
  RunConfig config = With({"parallel.tp=3"});
  EXPECT_THAT(std::string(ValidateLayout(config, 3).message()), HasSubstr("8 level-2 units"));
  AddLevel(config, EncoderLayout::TENSOR, DecoderLayout::TENSOR);
  AddLevel(config, EncoderLayout::REPLICATED, DecoderLayout::REPLICATED);
  EXPECT_TRUE(ValidateLayout(config, 3).ok()) << ValidateLayout(config, 3);
  AddLevel(config, EncoderLayout::REPLICATED, DecoderLayout::REPLICATED);
  EXPECT_THAT(std::string(ValidateLayout(config, 3).message()), HasSubstr("is more levels than the model has, 2"));
}

TEST(ValidateLayout, OnlyWhatIsSplitMustDivide) {
  RunConfig config = With({"parallel.tp=4"});  // of 6 heads
  AddLevel(config, EncoderLayout::SEQUENCE, DecoderLayout::CHUNK);
  EXPECT_THAT(std::string(ValidateLayout(config, 4).message()), HasSubstr("parallel.levels.1.encoder TENSOR"));
  AddLevel(config, EncoderLayout::SEQUENCE, DecoderLayout::CHUNK);
  EXPECT_TRUE(ValidateLayout(config, 4).ok()) << ValidateLayout(config, 4);
  config.mutable_parallel()->mutable_levels(0)->set_decoder(DecoderLayout::TENSOR);
  EXPECT_THAT(std::string(ValidateLayout(config, 4).message()), HasSubstr("parallel.levels.0.decoder TENSOR"));
}

TEST(ValidateLayout, SequenceKeepsChunksWhole) {
  // 24 level-1 units over 3 ranks, 8 each: chunks of 3 would be cut.
  RunConfig config = With({"parallel.tp=3"});
  AddLevel(config, EncoderLayout::SEQUENCE, DecoderLayout::CHUNK);
  AddLevel(config, EncoderLayout::REPLICATED, DecoderLayout::REPLICATED);
  EXPECT_THAT(std::string(ValidateLayout(config, 3).message()), HasSubstr("cuts the chunks of 3 units"));
  config.mutable_data()->set_sequence_length(216);  // 72 units, 24 each
  EXPECT_TRUE(ValidateLayout(config, 3).ok()) << ValidateLayout(config, 3);
}

TEST(ValidateLayout, PositionsAreNotSharedWhereEverybodyHasAll) {
  RunConfig config = With({"parallel.tp=2", "parallel.cp=2"});
  AddLevel(config, EncoderLayout::SEQUENCE, DecoderLayout::CHUNK);
  EXPECT_TRUE(ValidateLayout(config, 4).ok()) << ValidateLayout(config, 4);
  config.mutable_parallel()->mutable_levels(0)->set_spans(SpanLayout::REPLICATED);
  EXPECT_THAT(std::string(ValidateLayout(config, 4).message()), HasSubstr("spans = REPLICATED"));
}

TEST(ValidateLayout, FlatModelHasOneLevelAndNoDecoder) {
  RunConfig config = With({"model.levels=", "model.layers=4", "parallel.tp=4", "parallel.cp=2"});
  EXPECT_THAT(std::string(ValidateLayout(config, 8).message()), HasSubstr("model.heads = 6"));
  AddLevel(config, EncoderLayout::SEQUENCE, DecoderLayout::TENSOR);
  EXPECT_TRUE(ValidateLayout(config, 8).ok()) << ValidateLayout(config, 8);
  config.mutable_data()->set_sequence_length(100);  // 50 positions a span
  EXPECT_THAT(std::string(ValidateLayout(config, 8).message()), HasSubstr("50 level-1 units"));
}

TEST(LayoutsThatFit, AreOfAsManyRanksAndNearestFirst) {
  const RunConfig config = With({});
  const LayoutSizes wanted = {.dp = 1, .pp = 1, .cp = 4, .tp = 4};
  const std::vector<LayoutSizes> layouts = LayoutsThatFit(config, 16, wanted, 1000);
  ASSERT_FALSE(layouts.empty());
  for (const LayoutSizes& sizes : layouts) {
    EXPECT_EQ(sizes.ranks(), 16);
    EXPECT_TRUE(FitsLayout(config, sizes).ok());
  }
  // tp = 4 does not divide the 6 heads, and 16 ranks can't be made of cp = 4 and tp = 2 alone.
  EXPECT_EQ(layouts.front().tp, 2);
  EXPECT_EQ(layouts.front().cp, 4);
  EXPECT_EQ(LayoutsThatFit(config, 16, wanted, 2).size(), 2u);
}

TEST(LayoutsThatFit, WithNoneTheNextSmallerNumberOfRanksIsNamed) {
  const absl::Status status = ValidateLayout(With({"parallel.dp=11"}), 11);
  EXPECT_THAT(std::string(status.message()), HasSubstr("No layout of 11 ranks fits; of 8: dp 8"));
  EXPECT_THAT(std::string(status.message()), Not(HasSubstr("Layouts of 11")));
}

TEST(Resolved, BatchIsSharedByDataParallelRanksAlone) {
  const RunConfig config = Resolved(With({"parallel.tp=2", "parallel.cp=2", "training.micro_batch_sequences="}), 8);
  EXPECT_EQ(config.parallel().dp(), 2);
  EXPECT_EQ(config.training().micro_batch_sequences(), 4);
  // What can't be resolved is left for ValidateRun to refuse.
  const RunConfig bad = Resolved(With({"parallel.tp=16", "training.micro_batch_sequences="}), 8);
  EXPECT_FALSE(bad.parallel().has_dp());
  EXPECT_FALSE(ValidateRun(bad, 8).ok());
}

}  // namespace
}  // namespace photon
