// Every preset loads and can be trained; the paper's nine have its parameter counts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "configs/config.h"
#include "configs/model_config.h"
#include "configs/validate_layout.h"

namespace photon {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

RunConfig Preset(const std::string& name) {
  const absl::StatusOr<RunConfig> config =
      LoadRunConfig(std::string(PHOTON_SOURCE_DIR) + "/configs/" + name + ".textproto");
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? *config : RunConfig();
}

// The specification's formulas (section 2), without the start latent.
int64_t Parameters(const ModelConfig& model) {
  const int64_t d = model.width(), f = model.ffn(), v = model.vocab_size();
  const auto stack = [&](int64_t layers) { return layers * (4 * d * d + 3 * d * f + 2 * d) + d; };
  if (model.levels_size() == 0) return 2 * v * d + stack(model.layers());
  int64_t total = v * d / model.levels(0).chunk() + 2 * v * d;
  for (int l = 0; l < model.levels_size(); ++l) {
    const LevelConfig& level = model.levels(l);
    total += stack(level.encoder_layers()) + stack(level.decoder_layers()) + level.prefix() * (d * d + d);
    if (l > 0) total += level.chunk() * d * d + d + level.chunk() * d;
  }
  return total;
}

TEST(Presets, AllCanBeTrained) {
  int count = 0;
  for (const auto& entry : fs::directory_iterator(std::string(PHOTON_SOURCE_DIR) + "/configs")) {
    if (entry.path().extension() != ".textproto") continue;
    ++count;
    const RunConfig config = Preset(entry.path().stem());
    const ParallelConfig& parallel = config.parallel();
    const int replica = parallel.pp() * parallel.cp() * parallel.tp();
    for (const int ranks : {replica, 2 * replica}) {
      EXPECT_TRUE(ValidateRun(config, ranks).ok()) << entry.path() << ValidateRun(config, ranks);
      EXPECT_TRUE(CheckOverlapOnGpus(Resolved(config, ranks).parallel(), ranks).ok()) << entry.path();
    }
  }
  EXPECT_GE(count, 16);
}

TEST(Presets, PaperParameterCounts) {
  const std::vector<std::pair<std::string, int64_t>> counts = {
      {"vanilla-600m", 610915968}, {"vanilla-900m", 867114752}, {"vanilla-1.2b", 1184657280},
      {"block-600m", 629770752},   {"block-900m", 887878656},   {"block-1.2b", 1207395840},
      {"photon-600m", 646399104},  {"photon-900m", 907162368},  {"photon-1.2b", 1229531520}};
  for (const auto& [name, count] : counts) EXPECT_EQ(Parameters(Preset(name).model()), count) << name;
}

// With the start latent: what `photon plan` and training print.
TEST(Presets, LargerOnes) {
  struct Larger {
    const char* name;
    int64_t parameters;
  };
  for (const auto& [name, parameters] :
       {Larger{"photon-3b", 3'014'780'928}, Larger{"photon-7b", 6'905'454'592}, Larger{"photon-13b", 13'266'606'080},
        Larger{"photon-34b", 33'507'491'840}, Larger{"photon-70b", 69'126'242'304}}) {
    const RunConfig config = Preset(name);
    const ModelConfig& model = config.model();
    EXPECT_EQ(Parameters(model) + model.width(), parameters) << name;
    EXPECT_EQ(HeadDim(model), 128) << name;
    EXPECT_EQ(model.ffn() % 256, 0) << name;
    EXPECT_NEAR(model.ffn(), 8.0 / 3 * model.width(), 256) << name;
    // "PHOTON 7B: 6,905,454,592 parameters" is what the file says of itself.
    std::ifstream file(std::string(PHOTON_SOURCE_DIR) + "/configs/" + name + ".textproto");
    std::string line;
    std::getline(file, line);
    std::string grouped = std::to_string(parameters);
    for (int i = static_cast<int>(grouped.size()) - 3; i > 0; i -= 3) grouped.insert(i, ",");
    EXPECT_THAT(line, HasSubstr(grouped + " parameters")) << name;
  }
}

TEST(Presets, QuickstartIsLargeEnough) {
  const RunConfig config = Preset("quickstart");
  EXPECT_GE(Parameters(config.model()), 8'000'000);
  EXPECT_EQ(config.model().levels_size(), 2);
  EXPECT_EQ(ChunkProduct(config.model()), 16);
  EXPECT_GE(config.data().sequence_length(), 512);
  EXPECT_GE(config.training().steps() * config.training().batch_sequences() * config.data().sequence_length(),
            2'000'000);
}

}  // namespace
}  // namespace photon
