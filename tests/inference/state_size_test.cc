// What a sequence takes in PHOTON 600M of the paper, in bf16, on a device that only counts.
#include "inference/engine/state_size.h"

#include <gtest/gtest.h>

#include "configs/model_config.h"
#include "core/dry/dry_device.h"
#include "model/kv_cache.h"

namespace photon::testing {
namespace {

class Deaf final : public dry::Listener {
  void Did(const dry::Operation&) override {}
};

class StateSizeTest : public ::testing::Test {
 protected:
  static constexpr int kWidth = 1664, kLayers = 4;
  static constexpr int64_t kPosition = 2 * kWidth * 2;  // bytes of a key and a value in a layer
  static constexpr int64_t kSlab = 64 * kPosition;      // what a layer's cache grows by
  static ModelConfig Photon600M() {
    ModelConfig config;
    config.set_width(kWidth);
    config.set_ffn(4096);
    config.set_heads(32);
    for (int l = 1; l <= 2; ++l) config.add_levels()->set_encoder_layers(kLayers);
    return config;
  }
  StateSizeTest() { model_->parameters().Allocate(context_, {.compute = DType::kBF16, .gradients = false, .at = {}}); }

  Deaf deaf_;
  dry::DryDevice device_{int64_t{64} << 30, deaf_};
  const Context context_ = device_.MakeContext(nullptr);
  const std::unique_ptr<LanguageModel> model_ = LanguageModel::Create(Photon600M());
};

// States: n_l T / C_<=l positions (spec, section 6), 2 % and a slab a layer at most. Windows: 0.0007 GiB.
TEST_F(StateSizeTest, IsTheFormulaAndLittleMore) {
  const std::unique_ptr<Decoder> decoder = Decoder::Create(context_, *model_);
  const StateSize size(*decoder);
  ASSERT_EQ(RoomFor(1) * kPosition, kSlab);
  constexpr double kWindows = 0.0007 * (1 << 30);
  for (const int64_t tokens : {2048 + 128, 32768, 100000}) {
    const double top = kLayers * kPosition * (tokens / 16), below = kLayers * kPosition * (tokens / 4);
    const auto most = [&](double states, int layers) { return 1.02 * states + layers * kSlab + kWindows; };
    const auto rec = static_cast<double>(size.MostByMetaContexts(GenerationMode::kRec, 128, tokens - 128));
    const auto parallel =
        static_cast<double>(size.MostByMetaContexts(GenerationMode::kHierParallel, 128, tokens - 128));
    const auto hier = static_cast<double>(size.Most(GenerationMode::kHier, 128, tokens - 128));
    EXPECT_GE(rec, top);
    EXPECT_LE(rec, most(top, kLayers)) << tokens;
    EXPECT_GE(parallel, top + below);
    EXPECT_LE(parallel, most(top + below, 2 * kLayers)) << tokens;
    EXPECT_GE(hier, top + below);
    EXPECT_LE(hier, most(top + below, 2 * kLayers)) << tokens;
  }
}

}  // namespace
}  // namespace photon::testing
