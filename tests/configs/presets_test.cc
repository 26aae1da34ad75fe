// Every preset loads and can be trained; the paper's nine have its parameter counts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "configs/config.h"
#include "configs/model_config.h"

namespace photon {
namespace {

namespace fs = std::filesystem;

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
    for (const int ranks : {1, 2})
      EXPECT_TRUE(ValidateRun(config, ranks).ok()) << entry.path() << ValidateRun(config, ranks);
  }
  EXPECT_GE(count, 11);
}

TEST(Presets, PaperParameterCounts) {
  const std::vector<std::pair<std::string, int64_t>> counts = {
      {"vanilla-600m", 610915968}, {"vanilla-900m", 867114752}, {"vanilla-1.2b", 1184657280},
      {"block-600m", 629770752},   {"block-900m", 887878656},   {"block-1.2b", 1207395840},
      {"photon-600m", 646399104},  {"photon-900m", 907162368},  {"photon-1.2b", 1229531520}};
  for (const auto& [name, count] : counts) EXPECT_EQ(Parameters(Preset(name).model()), count) << name;
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
