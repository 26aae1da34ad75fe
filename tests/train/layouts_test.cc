// Every layout computes the same thing: one step's gradients, and many steps' losses, are those of one rank.
#include <google/protobuf/text_format.h>

#include <cmath>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_join.h"
#include "tests/train/layout_runs.h"
#include "tests/train/tampered_communicator.h"

namespace photon::testing {
namespace {

using Fields = std::vector<std::string>;

// Models. T = 128: spans of four cp ranks hold two meta-contexts each, which two tp ranks share.
RunConfig RunOf(const std::string& model, const Fields& fields) {
  RunConfig config = TinyRun("unused");
  config.mutable_model()->clear_levels();
  EXPECT_TRUE(google::protobuf::TextFormat::MergeFromString(model, config.mutable_model())) << model;
  config.mutable_data()->set_align(16);
  config.mutable_model()->set_vocab_size(64);
  config.mutable_model()->set_heads(4);
  config.mutable_model()->set_width(32);
  config.mutable_data()->set_sequence_length(128);
  config.mutable_training()->set_batch_sequences(8);
  config.mutable_training()->set_steps(20);
  config.mutable_training()->mutable_optimizer()->set_peak_lr(3e-3);
  return WithFields(config, fields);
}
const std::string kLevel = "levels { chunk: 4 encoder_layers: 2 decoder_layers: 2 } ";
const std::string kSmallLevel = "levels { chunk: 2 encoder_layers: 2 decoder_layers: 2 } ";
const std::string kFlat = "layers: 6", kOneLevel = "levels { chunk: 4 encoder_layers: 4 decoder_layers: 4 }",
                  kTwoLevels = kLevel + kLevel;
const std::string kThreeLevels = kSmallLevel + kSmallLevel + kSmallLevel;

Fields operator+(Fields a, const Fields& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// "dp2 tp2" and config fields.
Layout Of(const std::string& axes, const Fields& fields = {}) {
  Layout layout{.ranks = 1, .fields = fields};
  for (const std::string axis : {"dp", "pp", "cp", "tp"}) {
    const size_t at = axes.find(axis);
    const int size = at == std::string::npos ? 1 : axes[at + 2] - '0';
    layout.ranks *= size;
    layout.fields.push_back(absl::StrCat("parallel.", axis, "=", size));
  }
  return layout;
}

class Layouts : public ::testing::Test {
 protected:
  Layouts() : tokens_(WriteTokens(folder_ / "tokens")) {}

  // Sums of as many terms as the longest chain of additions between a token and a gradient has: over the rows of the
  // batch, and in every layer over the width, the feed-forward and the keys, forward and backward.
  static double Additions(const RunConfig& config) {
    const double rows = static_cast<double>(config.training().batch_sequences()) * config.data().sequence_length();
    double layers = config.model().layers();
    for (const LevelConfig& level : config.model().levels()) layers += level.encoder_layers() + level.decoder_layers();
    const double inner = config.model().width() + config.model().ffn() + config.data().sequence_length();
    return rows + 2 * layers * inner + config.model().vocab_size();
  }

  static double Epsilon(const RunConfig& config) { return config.training().dtype() == "f64" ? 0x1p-53 : 0x1p-24; }

  // Whether they agree: to the bound of so many additions in the norm of every tensor, then over many steps.
  static std::string Difference(const RunConfig& config, const LayoutOutcome& got, const LayoutOutcome& want,
                                bool sharded = false) {
    for (const absl::Status& status : got.statuses) {
      if (!status.ok()) return std::string(status.message());
    }
    if (got.norms.empty()) return "it did not run";
    const double bound = Additions(config) * Epsilon(config);
    if (!(std::abs(got.norms[0] / want.norms[0] - 1) <= bound)) {
      return absl::StrCat("gradient norm ", got.norms[0], ", want ", want.norms[0]);
    }
    if (!sharded && got.gradients.size() != want.gradients.size()) return "another set of parameters";
    for (const auto& [name, reference] : want.gradients) {
      if (sharded) break;
      const std::vector<double>& gradient = got.gradients.at(name);
      double difference = 0, norm = 0;
      for (size_t i = 0; i < reference.size(); ++i) {
        difference += std::pow(gradient[i] - reference[i], 2);
        norm += reference[i] * reference[i];
      }
      if (norm == 0) return absl::StrCat(name, " has no gradient: the test tests nothing");
      if (!(std::sqrt(difference / norm) <= bound)) {
        return absl::StrCat("the gradient of ", name, " is off by ", std::sqrt(difference / norm),
                            " of its norm, more than ", bound);
      }
    }
    const double tolerance = config.training().dtype() == "f64" ? 1e-10 : 1e-5;
    for (size_t i = 0; i < want.losses.size(); ++i) {
      if (!(std::abs(got.losses[i] / want.losses[i] - 1) <= tolerance)) {
        return absl::StrCat("loss of step ", i + 1, " is ", got.losses[i], ", want ", want.losses[i]);
      }
    }
    return "";
  }

  void ExpectSame(const std::string& model, const std::vector<Layout>& layouts, int64_t steps = 20,
                  const Fields& fields = {}) {
    for (const std::string dtype : {"f64", "f32"}) {
      const RunConfig config = RunOf(model, fields + Fields{"training.dtype=" + dtype});
      const LayoutOutcome want = TrainUnder(config, Of(""), tokens_, steps);
      ASSERT_EQ(want.losses.size(), static_cast<size_t>(steps));
      if (steps == 20) {
        EXPECT_LT(want.losses.back(), 0.9 * want.losses.front()) << "it learns nothing";
      }
      for (const Layout& layout : layouts) {
        SCOPED_TRACE(absl::StrCat(dtype, " ", absl::StrJoin(layout.fields, " ")));
        const bool sharded = WithFields(config, layout.fields).parallel().shard() != ParallelConfig::NOTHING;
        EXPECT_EQ(Difference(config, TrainUnder(config, layout, tokens_, steps), want, sharded), "");
        if (HasFatalFailure()) return;
      }
    }
  }

  const TemporaryFolder folder_;
  const std::shared_ptr<const TokenFile> tokens_;
};

// Every axis at 2 and 4, every pair at 2 x 2, three at once.
std::vector<Layout> Axes() {
  std::vector<Layout> layouts;
  for (const char* axes : {"dp2", "dp4", "cp2", "cp4", "tp2", "tp4", "dp2 cp2", "dp2 tp2", "cp2 tp2", "dp2 cp2 tp2"})
    layouts.push_back(Of(axes));
  const Fields microbatches = {"training.micro_batch_sequences=1"};
  for (const char* axes : {"pp2", "pp4", "dp2 pp2", "pp2 cp2", "pp2 tp2", "dp2 pp2 cp2", "dp2 pp2 tp2", "pp2 cp2 tp2"})
    layouts.push_back(Of(axes, microbatches));
  return layouts;
}

TEST_F(Layouts, Flat) { ExpectSame(kFlat, Axes()); }
TEST_F(Layouts, OneLevel) { ExpectSame(kOneLevel, Axes()); }
TEST_F(Layouts, TwoLevels) { ExpectSame(kTwoLevels, Axes()); }
TEST_F(Layouts, ThreeLevels) { ExpectSame(kThreeLevels, Axes()); }

TEST_F(Layouts, EveryKindOfEncoderAndDecoder) {
  std::vector<Layout> layouts;
  for (const std::string encoder : {"TENSOR", "SEQUENCE", "REPLICATED"}) {
    for (const std::string decoder : {"TENSOR", "CHUNK", "REPLICATED"}) {
      for (const std::string vocabulary : {"SPLIT", "REPLICATED"}) {
        // The other level has another kind, so that streams change from share to share.
        const std::string other = encoder == "SEQUENCE" ? "TENSOR" : "SEQUENCE";
        layouts.push_back(Of("cp2 tp2", {"parallel.levels.0.encoder=" + encoder, "parallel.levels.0.decoder=" + decoder,
                                         "parallel.levels.1.encoder=" + other, "parallel.vocabulary=" + vocabulary}));
        layouts.push_back(Of("tp2", {"parallel.levels.0.encoder=" + other, "parallel.levels.0.decoder=CHUNK",
                                     "parallel.levels.1.encoder=" + encoder, "parallel.levels.1.decoder=" + decoder,
                                     "parallel.vocabulary=" + vocabulary, "training.micro_batch_sequences=1"}));
      }
    }
  }
  ExpectSame(kTwoLevels, layouts, 2);
}

TEST_F(Layouts, EveryKindOfSpans) {
  std::vector<Layout> layouts;
  for (const std::string lower : {"GATHER", "PASS_ON", "REPLICATED"}) {
    for (const std::string top : {"GATHER", "PASS_ON", "REPLICATED"}) {
      const Fields spans = {"parallel.levels.0.spans=" + lower, "parallel.levels.1.spans=" + top};
      layouts.push_back(Of("cp4", spans));
      layouts.push_back(Of("cp2 tp2", spans));
      layouts.push_back(Of("cp2", spans + Fields{"training.micro_batch_sequences=1"}));
    }
  }
  const Fields shared = {"parallel.levels.0.encoder=SEQUENCE", "parallel.levels.1.encoder=SEQUENCE"};
  layouts.push_back(
      Of("cp2 tp2", shared + Fields{"parallel.levels.0.spans=PASS_ON", "parallel.levels.1.spans=PASS_ON"}));
  ExpectSame(kTwoLevels, layouts, 2);
}

TEST_F(Layouts, EveryPipeline) {
  std::vector<Layout> layouts;
  for (const std::string form : {"FOLDED", "ENCODERS"}) {
    for (const std::string schedule : {"GPIPE", "ONE_F_ONE_B", "SPLIT"}) {
      const Fields pipeline = {"parallel.pipeline.form=" + form, "parallel.pipeline.schedule=" + schedule};
      layouts.push_back(Of("pp2", pipeline + Fields{"training.micro_batch_sequences=2"}));
      layouts.push_back(Of("pp3", pipeline + Fields{"training.micro_batch_sequences=1"}));
      layouts.push_back(
          Of("pp2 tp2", pipeline + Fields{"training.micro_batch_sequences=1", "parallel.levels.0.encoder=SEQUENCE",
                                          "parallel.levels.0.decoder=TENSOR"}));
    }
  }
  const std::string level = "levels { chunk: 4 encoder_layers: 3 decoder_layers: 3 } ";
  ExpectSame(level + level, layouts, 2);
  for (const Fields& flags : std::vector<Fields>{{"model.shift=ALL"},
                                                 {"model.contents=RECONSTRUCTED"},
                                                 {"model.encoder_scope=GROUP", "training.recompute=true"},
                                                 {"training.objective.stop_gradient=false"},
                                                 {"training.slice_tokens=40"}}) {
    SCOPED_TRACE(absl::StrJoin(flags, " "));
    ExpectSame(
        level + level,
        {Of("pp2 cp2", {"training.micro_batch_sequences=1"}), Of("pp2 tp2", {"training.micro_batch_sequences=1"}),
         Of("pp2", {"training.micro_batch_sequences=2", "parallel.pipeline.form=ENCODERS"})},
        2, flags);
  }
}

// Shared-out state, on top of everything else.
TEST_F(Layouts, EveryShard) {
  std::vector<Layout> layouts;
  for (const std::string shard : {"OPTIMIZER", "GRADIENTS"}) {
    const Fields fields = {"parallel.shard=" + shard, "training.micro_batch_sequences=2"};
    for (const char* axes : {"dp2", "cp2 tp2", "dp2 tp2", "dp2 pp2"}) layouts.push_back(Of(axes, fields));
    layouts.push_back(Of("dp2 pp2", fields + Fields{"parallel.pipeline.form=ENCODERS"}));
  }
  ExpectSame(kTwoLevels, layouts);
}

// What pipelines, spans that are passed on and early reductions each do with the order of the work, done at once.
TEST_F(Layouts, OrdersOfWorkTogether) {
  const Fields pipeline = {"training.micro_batch_sequences=1", "parallel.pipeline.schedule=SPLIT"};
  const Fields passed_on = {"parallel.levels.0.spans=PASS_ON", "parallel.levels.1.spans=PASS_ON"};
  const Fields early = {"parallel.overlap_reduction=true"};
  ExpectSame(kTwoLevels,
             {Of("dp2 pp2", pipeline + early), Of("pp2 cp2", pipeline + passed_on),
              Of("dp2 pp2 cp2", pipeline + passed_on + early),
              Of("dp2 pp2", pipeline + early + Fields{"parallel.pipeline.form=ENCODERS", "parallel.shard=GRADIENTS"})},
             4);
}

// Flags of the model, the objective and training: under a layout that uses every axis there is.
TEST_F(Layouts, EveryFlag) {
  const std::vector<Layout> layouts = {
      Of("cp2 tp2"), Of("cp4"),
      Of("cp2 tp2", {"parallel.levels.0.encoder=SEQUENCE", "parallel.levels.1.encoder=SEQUENCE"}),
      Of("tp2", {"parallel.levels.0.decoder=TENSOR", "parallel.levels.1.decoder=TENSOR"})};
  for (const Fields& flags : std::vector<Fields>{
           {"model.shift=ALL"},
           {"model.contents=RECONSTRUCTED"},
           {"model.shift=ALL", "model.contents=RECONSTRUCTED"},
           {"model.encoder_scope=GROUP"},
           {"model.kv_heads=2"},
           {"training.recompute=true"},
           {"training.objective.stop_gradient=false", "training.objective.level_one_term=true"},
           {"training.slice_tokens=40", "training.micro_batch_sequences=2"},
           {"data.document_mask=false"},
           {"model.levels.0.prefix=1", "model.levels.1.prefix=3"},
       }) {
    SCOPED_TRACE(absl::StrJoin(flags, " "));
    ExpectSame(kTwoLevels, layouts, 2, flags);
  }
}

// A test of these tests: with any one exchange left out they fail.
TEST_F(Layouts, EveryExchangeIsNeeded) {
  const std::string level = "levels { chunk: 4 encoder_layers: 2 decoder_layers: 2 } ";
  const RunConfig config = RunOf(level + level, {"training.dtype=f64", "training.micro_batch_sequences=2"});
  const LayoutOutcome want = TrainUnder(config, Of(""), tokens_, 2);
  std::set<std::string> all;
  for (const Layout& layout :
       {Of("dp2 cp2 tp2", {"parallel.levels.0.encoder=SEQUENCE", "parallel.levels.1.decoder=TENSOR",
                           "parallel.levels.0.spans=PASS_ON"}),
        Of("cp2 tp2", {"parallel.levels.1.spans=REPLICATED", "parallel.levels.0.decoder=TENSOR"}),
        Of("cp2 tp2", {"parallel.levels.0.encoder=SEQUENCE", "parallel.levels.1.encoder=SEQUENCE"}), Of("dp2 pp2"),
        Of("pp2", {"parallel.pipeline.form=ENCODERS"}), Of("dp2", {"parallel.shard=OPTIMIZER"}),
        Of("dp2", {"parallel.shard=GRADIENTS"})}) {
    SCOPED_TRACE(absl::StrJoin(layout.fields, " "));
    const bool sharded = WithFields(config, layout.fields).parallel().shard() != ParallelConfig::NOTHING;
    const auto difference = [&](Tampering& tampering) {
      const auto wrap = [&](std::unique_ptr<Communicator> world) -> std::unique_ptr<Communicator> {
        return std::make_unique<TamperedCommunicator>(std::move(world), tampering);
      };
      return Difference(config, TrainUnder(config, layout, tokens_, 2, wrap, /*expect_alike=*/false), want, sharded);
    };
    Tampering none;
    ASSERT_EQ(difference(none), "");
    for (const std::string& exchange : none.met()) {
      Tampering one(exchange);
      EXPECT_NE(difference(one), "") << exchange << " could be left out";
      all.insert(exchange);
    }
  }
  EXPECT_GE(all.size(), 25u) << absl::StrJoin(all, ", ");
}

}  // namespace
}  // namespace photon::testing
