#include "train/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/check.h"
#include "tests/support/child_process.h"
#include "tests/support/temporary_folder.h"

namespace photon {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::InChild;
using testing::LimitFileSize;
using ::testing::Not;
using testing::TemporaryFolder;

MetricsLog OpenLog(const TemporaryFolder& folder, int64_t resumed_step) {
  absl::StatusOr<MetricsLog> log = MetricsLog::Open(folder / "", resumed_step);
  PHOTON_CHECK(log.ok()) << log.status();
  return *std::move(log);
}

std::vector<json> Lines(const TemporaryFolder& folder) {
  std::istringstream in(folder.Read("metrics.jsonl"));
  std::vector<json> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(json::parse(line));
  return lines;
}

std::vector<int64_t> Steps(const TemporaryFolder& folder) {
  std::vector<int64_t> steps;
  for (const json& line : Lines(folder)) steps.push_back(line["step"]);
  return steps;
}

TEST(MetricsLog, AStepIsOneLineWithTheKeysThatOthersRead) {
  const TemporaryFolder folder;
  MetricsLog log = OpenLog(folder, 0);
  log.WriteStep({.step = 3, .loss = 2.5, .lr = 1e-3, .grad_norm = 0.75, .tokens_per_s = 1200, .mfu = 0.4});
  const std::vector<json> lines = Lines(folder);  // while the log is open: nothing waits in a buffer
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0]["step"], 3);
  EXPECT_EQ(lines[0]["loss"], 2.5);
  EXPECT_EQ(lines[0]["lr"], 1e-3);
  EXPECT_EQ(lines[0]["grad_norm"], 0.75);
  EXPECT_EQ(lines[0]["tokens_per_s"], 1200);
  EXPECT_EQ(lines[0]["mfu"], 0.4);
  EXPECT_FALSE(lines[0].contains("skipped"));
  log.WriteValidation(3, 2.25, 100);
  EXPECT_EQ(Lines(folder)[1], (json{{"step", 3}, {"valid_loss", 2.25}, {"valid_tokens", 100}}));
}

TEST(MetricsLog, ValuesSurviveToTheLastBit) {
  const TemporaryFolder folder;
  OpenLog(folder, 0).WriteStep({.step = 1, .loss = 0.1 + 0.2, .grad_norm = std::nextafter(1.0, 2.0)});
  EXPECT_EQ(Lines(folder)[0]["loss"].get<double>(), 0.1 + 0.2);
  EXPECT_EQ(Lines(folder)[0]["grad_norm"].get<double>(), std::nextafter(1.0, 2.0));
}

TEST(MetricsLog, WhatIsNotFiniteIsNull) {
  const TemporaryFolder folder;
  MetricsLog log = OpenLog(folder, 0);
  log.WriteStep(
      {.step = 1, .loss = NAN, .ce = NAN, .rec = -INFINITY, .grad_norm = INFINITY, .skipped = "the \"loss\""});
  log.WriteValidation(1, NAN, 5);
  const std::vector<json> lines = Lines(folder);
  for (const char* key : {"loss", "ce", "rec", "grad_norm"}) EXPECT_TRUE(lines[0][key].is_null()) << key;
  EXPECT_EQ(lines[0]["skipped"], "the \"loss\"");
  EXPECT_TRUE(lines[1]["valid_loss"].is_null());
}

TEST(MetricsLog, StepsAfterTheResumedOneAreDropped) {
  const TemporaryFolder folder;
  {
    MetricsLog log = OpenLog(folder, 0);
    for (int64_t step = 1; step <= 6; ++step) log.WriteStep({.step = step});
    log.WriteValidation(4, 2, 10);
    log.WriteValidation(6, 2, 10);
  }
  MetricsLog log = OpenLog(folder, 4);
  EXPECT_THAT(Steps(folder), ElementsAre(1, 2, 3, 4, 4));
  log.WriteStep({.step = 5});
  EXPECT_THAT(Steps(folder), ElementsAre(1, 2, 3, 4, 4, 5));
  OpenLog(folder, 0);
  EXPECT_THAT(Steps(folder), ElementsAre());
}

TEST(MetricsLog, TornAndForeignLinesAreDropped) {
  const TemporaryFolder folder;
  folder.Write("metrics.jsonl",
               "{\"step\":1}\n\n[2]\nnoise\n{\"loss\":3}\n{\"step\":\"one\"}\n{\"step\":2}\n{\"step\":3,\"los");
  MetricsLog log = OpenLog(folder, 100);
  EXPECT_THAT(Steps(folder), ElementsAre(1, 2));
  log.WriteStep({.step = 3});
  EXPECT_THAT(Steps(folder), ElementsAre(1, 2, 3));
}

TEST(MetricsLog, AWholeLastLineWithoutItsNewlineStays) {
  const TemporaryFolder folder;
  folder.Write("metrics.jsonl", "{\"step\":1}\n{\"step\":2}");
  OpenLog(folder, 9).WriteStep({.step = 3});
  EXPECT_THAT(Steps(folder), ElementsAre(1, 2, 3));
}

TEST(MetricsLog, AFolderThatIsNotThereIsRefused) {
  const auto log = MetricsLog::Open("/no/such/folder", 0);
  EXPECT_EQ(log.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(log.status().message()), HasSubstr("/no/such/folder/metrics.jsonl"));
}

// A disk that is full for a while costs the lines of that while, and leaves no half of one.
TEST(MetricsLog, GoesOnAfterAFullDisk) {
  const TemporaryFolder folder;
  const int code = InChild([&] {
    MetricsLog log = OpenLog(folder, 0);
    log.WriteStep({.step = 1});
    LimitFileSize(folder.Read("metrics.jsonl").size() + 20);
    log.WriteStep({.step = 2});
    log.WriteStep({.step = 3});
    LimitFileSize(RLIM_INFINITY);
    log.WriteStep({.step = 4});
    return 0;
  });
  EXPECT_EQ(code, 0);
  EXPECT_THAT(Steps(folder), ElementsAre(1, 4));
}

TEST(StepLine, IsForPeople) {
  const StepMetrics metrics{
      .step = 120, .loss = 5.1234567, .lr = 3e-4, .grad_norm = 0.8125, .tokens_per_s = 12345, .mfu = 0.414};
  EXPECT_EQ(StepLine(metrics, 1000, 200),
            "step 120/1000  loss 5.1235  lr 3.00e-04  |g| 0.812  12.3k tok/s  MFU 41 %  3m20s left");
  EXPECT_THAT(StepLine(metrics, 1000, 7325), HasSubstr("2h02m left"));
  EXPECT_THAT(StepLine(metrics, 1000, 59.4), HasSubstr("  59s left"));
  StepMetrics bad = metrics;
  bad.skipped = "the loss is nan";
  EXPECT_THAT(StepLine(bad, 1000, 1), HasSubstr("SKIPPED: the loss is nan"));
}

TEST(ValidationLine, SaysWhichSideOfTheEntropy) {
  EXPECT_EQ(ValidationLine(120, 4.2, 640, 6),
            "step 120  validation loss 4.2000 nats per token over 640 tokens; 30 % under their unigram entropy 6.0000");
  EXPECT_THAT(ValidationLine(1, 8.76, 640, 6), HasSubstr("; 46 % above their unigram entropy 6.0000"));
  EXPECT_EQ(ValidationLine(1, 0.5, 64, 0), "step 1  validation loss 0.5000 nats per token over 64 tokens");
}

TEST(PlotLoss, NeedsSteps) {
  const TemporaryFolder folder;
  OpenLog(folder, 0);
  EXPECT_EQ(PlotLoss(folder / "", 0).code(), absl::StatusCode::kFailedPrecondition);
}

TEST(PlotLoss, DrawsAPicture) {
  if (std::system("gnuplot --version >/dev/null 2>&1") != 0) GTEST_SKIP() << "gnuplot is not installed";
  const TemporaryFolder folder;
  MetricsLog log = OpenLog(folder, 0);
  for (int64_t step = 1; step <= 5; ++step) log.WriteStep({.step = step, .ce = 5.0 / step});
  log.WriteStep({.step = 6, .ce = NAN});
  log.WriteValidation(5, 1.5, 10);
  const absl::Status drawn = PlotLoss(folder / "", 4.0);
  ASSERT_TRUE(drawn.ok()) << drawn;
  EXPECT_THAT(folder.Read("loss.png"), HasSubstr("PNG"));
  EXPECT_THAT(folder.Read("loss.gnuplot"), Not(HasSubstr("null")));
}

// Folders of users bear names that shells and gnuplot read as more than names.
TEST(PlotLoss, TakesAnyFolder) {
  if (std::system("gnuplot --version >/dev/null 2>&1") != 0) GTEST_SKIP() << "gnuplot is not installed";
  const TemporaryFolder folder;
  for (const std::string name : {"it's $(touch made) \"here\"", "two\nlines", "-e"}) {
    std::filesystem::create_directory(folder / name);
    std::ofstream(folder / (name + "/metrics.jsonl")) << "{\"step\": 1, \"ce\": 2.5}\n{\"step\": 2, \"ce\": 2.0}\n";
    const absl::Status drawn = PlotLoss(folder / name, 0);
    EXPECT_TRUE(drawn.ok()) << drawn;
    EXPECT_THAT(folder.Read(name + "/loss.png"), HasSubstr("PNG"));
  }
  EXPECT_FALSE(std::filesystem::exists("made"));
}

}  // namespace
}  // namespace photon
