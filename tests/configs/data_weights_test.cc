#include "configs/data_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "absl/strings/str_cat.h"

namespace photon {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr double kNone = -1e9;

DataConfig Sources(const std::vector<double>& weights) {
  DataConfig data;
  for (double weight : weights) {
    DataSource& source = *data.add_source();
    source.set_prefix(absl::StrCat("p", data.source_size()));
    if (weight != kNone) source.set_weight(weight);
  }
  return data;
}

TEST(ValidateSources, TakesSharesPartsAndNoWeights) {
  for (const std::vector<double>& weights : std::vector<std::vector<double>>{
           {kNone}, {kNone, kNone}, {0.7, 0.3}, {0.333, 0.333, 0.333}, {7, 3}, {1, 1}, {0.5, 1.5}, {1, 0}}) {
    EXPECT_TRUE(ValidateSources(Sources(weights)).ok()) << ValidateSources(Sources(weights));
  }
}

TEST(ValidateSources, RefusesWeightsThatDontAddUp) {
  const auto message = [](const DataConfig& data) {
    EXPECT_EQ(ValidateSources(data).code(), absl::StatusCode::kInvalidArgument);
    return std::string(ValidateSources(data).message());
  };
  EXPECT_THAT(message(Sources({0.7, 0.4})), AllOf(HasSubstr("data.source.0.weight"), HasSubstr("add up to 1.1")));
  EXPECT_THAT(message(Sources({0.5, 0.4})), HasSubstr("add up to 0.9"));
  EXPECT_THAT(message(Sources({2, -1})), HasSubstr("data.source.1.weight = -1"));
  EXPECT_THAT(message(Sources({1, std::numeric_limits<double>::quiet_NaN()})), HasSubstr("data.source.1.weight = nan"));
  EXPECT_THAT(message(Sources({std::numeric_limits<double>::infinity(), 1})), HasSubstr("data.source.0.weight = inf"));
  EXPECT_THAT(message(Sources({0, 0})), HasSubstr("all others are 0"));
  EXPECT_THAT(message(Sources({1, kNone})), HasSubstr("data.source.1.weight is missing"));
  DataConfig data = Sources({1, 1});
  data.mutable_source(1)->set_prefix("p1");
  EXPECT_THAT(message(data), HasSubstr("data.source.1.prefix = p1 is named twice"));
  data.mutable_source(1)->clear_prefix();
  EXPECT_THAT(message(data), HasSubstr("data.source.1.prefix is missing"));
  data = Sources({1});
  data.set_train("t");
  EXPECT_THAT(message(data), HasSubstr("both given"));
  data.clear_train();
  data.add_set_weight()->set_name("x");
  EXPECT_THAT(message(data), HasSubstr("data.set_weight goes with data.train"));
  EXPECT_THAT(message(DataConfig()), HasSubstr("data.train is missing"));
}

}  // namespace
}  // namespace photon
