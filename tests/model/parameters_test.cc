// The paper's nine parameter totals (spec, section 5), and where initial values come from.
#include <gtest/gtest.h>

#include "core/placement.h"
#include "model/language_model.h"
#include "tests/support/tensors.h"

namespace photon {
namespace {

struct Size {
  int width, ffn, depth;
  int64_t vanilla, block, photon;
};
// depth: of each PHOTON stack; Block has twice, vanilla four times as many.
constexpr Size kSizes[] = {{1664, 4096, 4, 610915968, 629770752, 646399104},
                           {1792, 4608, 5, 867114752, 887878656, 907162368},
                           {1920, 5120, 6, 1184657280, 1207395840, 1229531520}};

ModelConfig Config(const Size& size, int levels, int depth) {
  ModelConfig config;
  config.set_vocab_size(32000);
  config.set_width(size.width);
  config.set_ffn(size.ffn);
  config.set_heads(32);
  if (levels == 0) config.set_layers(depth);
  for (int l = 0; l < levels; ++l) {
    LevelConfig& level = *config.add_levels();
    level.set_encoder_layers(depth);
    level.set_decoder_layers(depth);
  }
  return config;
}

int64_t Count(const ModelConfig& config) { return LanguageModel::Create(config)->parameters().count(); }

TEST(ParameterTotals, AreThePapers) {
  for (const Size& size : kSizes) {
    SCOPED_TRACE(size.width);
    EXPECT_EQ(Count(Config(size, 0, 4 * size.depth)), size.vanilla);
    EXPECT_EQ(Count(Config(size, 1, 2 * size.depth)), size.block + size.width);  // our start latent: + D
    EXPECT_EQ(Count(Config(size, 2, size.depth)), size.photon + size.width);
  }
}

TEST(ParameterTotals, GroupedHeadsShrinkKeysAndValues) {
  ModelConfig config = Config(kSizes[0], 0, 3);
  const int64_t full = Count(config);
  config.set_kv_heads(8);
  const int64_t d = kSizes[0].width, head = d / 32;
  EXPECT_EQ(full - Count(config), 3 * 2 * d * (32 - 8) * head);
}

// The initial weights are a function of (seed, name, global index): a rank that holds a slice holds the same numbers.
TEST(Initialization, DoesNotDependOnThePlacement) {
  const testing::TestContext context;
  const auto build = [&](ParameterSet& set, Placement placement, MeshCoordinates at) {
    set.Add({{"a.weight", {6, 5}, {0, 0.02}, true, placement}});
    set.Allocate(context, {.at = at});
    set.Initialize(context, 7);
    return testing::ToDoubles(context, set.parameters()[0]->master);
  };
  ParameterSet whole;
  const std::vector<double> all = build(whole, {}, {});
  for (int rank = 0; rank < 3; ++rank) {
    ParameterSet part;
    MeshCoordinates at;
    at.size[static_cast<int>(MeshAxis::kTp)] = 3;
    at.index[static_cast<int>(MeshAxis::kTp)] = rank;
    const std::vector<double> rows = build(part, {{{0, MeshAxis::kTp}}}, at);
    EXPECT_EQ(rows, std::vector<double>(all.begin() + rank * 10, all.begin() + (rank + 1) * 10));
  }
}

TEST(Initialization, DependsOnSeedAndName) {
  const testing::TestContext context;
  const auto first = [&](const char* name, uint64_t seed) {
    ParameterSet set;
    set.Add({{name, {64}, {0, 1}, false, {}}});
    set.Allocate(context, {});
    set.Initialize(context, seed);
    return testing::ToDoubles(context, set.parameters()[0]->master);
  };
  EXPECT_EQ(first("a", 1), first("a", 1));
  EXPECT_NE(first("a", 1), first("b", 1));
  EXPECT_NE(first("a", 1), first("a", 2));
}

}  // namespace
}  // namespace photon
