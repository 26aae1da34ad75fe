#include "inference/server/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace photon {
namespace {

using ::testing::HasSubstr;

TEST(Histogram, BucketsAreCumulative) {
  Histogram histogram;
  for (const double seconds : {0.0005, 0.001, 0.3, 1000.0}) histogram.Add(seconds);
  const std::string text = histogram.Text("x", "Help.");
  EXPECT_THAT(text, HasSubstr("# HELP x Help.\n# TYPE x histogram\nx_bucket{le=\"0.001\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("x_bucket{le=\"0.25\"} 2\nx_bucket{le=\"0.5\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("x_bucket{le=\"300\"} 3\nx_bucket{le=\"+Inf\"} 4\nx_sum 1000.3015\nx_count 4\n"));
}

TEST(Rate, IsOfTheLastTenSeconds) {
  const absl::Time start = absl::FromUnixSeconds(1000);
  Rate rate;
  EXPECT_EQ(rate.PerSecond(start), 0);
  // 5 tokens every 50 ms, for a minute.
  for (int i = 0; i <= 1200; ++i) rate.Observe(start + i * absl::Milliseconds(50), 5 * i);
  const absl::Time end = start + absl::Minutes(1);
  EXPECT_NEAR(rate.PerSecond(end), 100, 1);
  EXPECT_NEAR(rate.PerSecond(end + absl::Seconds(5)), 50, 1);
  EXPECT_EQ(rate.PerSecond(end + absl::Seconds(20)), 0);
}

TEST(Metrics, AreInPrometheusText) {
  Metrics metrics;
  metrics.Responded(200);
  metrics.Responded(200);
  metrics.Responded(429);
  metrics.FirstTokens(absl::Milliseconds(20));
  EngineStats engine;
  engine.waiting = 3;
  engine.level_bytes = {100, 20};
  const std::string text = metrics.Text(engine, 7, absl::Now());
  EXPECT_THAT(text, HasSubstr("# TYPE photon_requests_waiting gauge\nphoton_requests_waiting 3\n"));
  EXPECT_THAT(text, HasSubstr("photon_state_bytes{level=\"1\"} 100\nphoton_state_bytes{level=\"2\"} 20\n"));
  EXPECT_THAT(text, HasSubstr("photon_requests_total{code=\"200\"} 2\nphoton_requests_total{code=\"429\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("photon_time_to_first_token_seconds_bucket{le=\"0.025\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("photon_connections 7\n"));
}

}  // namespace
}  // namespace photon
