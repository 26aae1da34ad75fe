// The safetensors format: round trip, other writers' dtypes, and headers that lie.
#include "checkpoint/safetensors.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "tests/checkpoint/fixtures.h"

namespace photon {
namespace {

using namespace photon::testing;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string File(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + header + data;
}

TEST(Safetensors, RoundTrip) {
  TemporaryFolder folder;
  const std::string path = folder / "w.safetensors";
  const std::vector<NamedShape> tensors = {
      {"z", Shape{3, 5}}, {"a", Shape{7}}, {"none", Shape{0, 4}}, {"scalar", Shape{}}};
  const auto status =
      WriteSafetensors(path, tensors, {{"step", "3"}}, [](const NamedShape& tensor, absl::Span<float> out) {
        for (size_t i = 0; i < out.size(); ++i) out[i] = tensor.name[0] + 0.25f * i;
        return absl::OkStatus();
      });
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_THAT(FilesIn(folder.path()), ElementsAre("w.safetensors"));
  const auto reader = SafetensorsReader::Open(path);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ(reader->metadata().at("step"), "3");
  ASSERT_EQ(reader->entries().size(), 4u);
  for (const NamedShape& tensor : tensors) {
    const SafetensorsEntry* entry = reader->Find(tensor.name);
    ASSERT_NE(entry, nullptr);
    EXPECT_EQ(entry->shape, tensor.shape);
    std::vector<float> values(tensor.shape.elements());
    ASSERT_TRUE(reader->Read(*entry, absl::MakeSpan(values)).ok());
    for (size_t i = 0; i < values.size(); ++i) EXPECT_EQ(values[i], tensor.name[0] + 0.25f * i);
  }
}

TEST(Safetensors, FailedWriteLeavesWhatWasThere) {
  TemporaryFolder folder;
  const std::string path = folder / "w.safetensors";
  Spill(path, "old");
  const auto status = WriteSafetensors(path, {{"a", Shape{2}}}, {}, [](const NamedShape&, absl::Span<float>) {
    return absl::DataLossError("no such luck");
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Slurp(path), "old");
  EXPECT_THAT(FilesIn(folder.path()), ElementsAre("w.safetensors"));
}

TEST(Safetensors, ReadsNarrowAndWideTypes) {
  TemporaryFolder folder;
  const uint16_t half[] = {0x3c00, 0xc000, 0x0001, 0x03ff, 0x7bff, 0x7c00, 0xfc00, 0x8000};
  const uint16_t bf16[] = {0x3f80, 0xc000};
  const double wide[] = {0.1, -3.5};
  std::string data(reinterpret_cast<const char*>(half), 16);
  data.append(reinterpret_cast<const char*>(bf16), 4).append(reinterpret_cast<const char*>(wide), 16);
  Spill(folder / "f", File(R"({"h":{"dtype":"F16","shape":[8],"data_offsets":[0,16]},)"
                           R"("b":{"dtype":"BF16","shape":[2],"data_offsets":[16,20]},)"
                           R"("d":{"dtype":"F64","shape":[2,1],"data_offsets":[20,36]}}   )",
                           data));
  const auto reader = SafetensorsReader::Open(folder / "f");
  ASSERT_TRUE(reader.ok()) << reader.status();
  const auto read = [&](const std::string& name) {
    std::vector<float> values(reader->Find(name)->shape.elements());
    EXPECT_TRUE(reader->Read(*reader->Find(name), absl::MakeSpan(values)).ok());
    return values;
  };
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> halves = read("h");
  EXPECT_THAT(halves, ElementsAre(1.0f, -2.0f, 0x1p-24f, 1023 * 0x1p-24f, 65504.0f, inf, -inf, 0.0f));
  EXPECT_TRUE(std::signbit(halves[7]));
  EXPECT_THAT(read("b"), ElementsAre(1.0f, -2.0f));
  EXPECT_THAT(read("d"), ElementsAre(0.1f, -3.5f));
}

TEST(Safetensors, IntegersAreNoWeights) {
  TemporaryFolder folder;
  Spill(folder / "f", File(R"({"i":{"dtype":"I32","shape":[1],"data_offsets":[0,4]}})", "abcd"));
  const auto reader = SafetensorsReader::Open(folder / "f");
  ASSERT_TRUE(reader.ok());
  float value;
  EXPECT_EQ(reader->Read(reader->entries()[0], absl::MakeSpan(&value, 1)).code(), absl::StatusCode::kInvalidArgument);
}

TEST(Safetensors, MalformedFilesAreRefusedWithAReason) {
  TemporaryFolder folder;
  const std::string a = R"("a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  const struct {
    std::string bytes, reason;
  } cases[] = {
      {"", "shorter"},
      {"1234567", "shorter"},
      {std::string(8, '\xff') + "{}", "does not fit"},
      {std::string("\x40\0\0\0\0\0\0\0{}", 10), "does not fit"},
      {File("{", ""), "not a JSON object"},
      {File("[]", ""), "not a JSON object"},
      {File("{} trailing", ""), "not a JSON object"},
      {File("{\"\xff\":1}", ""), "not a JSON object"},
      {File("{" + a + "," + a + "}", "abcd"), "twice"},
      {File("{" + a + "}", "abc"), "the file has 3"},
      {File("{" + a + "}", "abcde"), "the file has 5"},
      {File("{}", "a"), "the file has 1"},
      {File("{" + a + R"(,"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})", "abcdef"), "inside another"},
      {File("{" + a + R"(,"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "abcd"), "inside another"},
      {File("{" + a + R"(,"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}})", "abcdefghijkl"), "hole"},
      {File(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", "abcd"), "takes 8"},
      {File(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", "abcd"), "span -4"},
      {File(R"({"a":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}})", "abcd"), "F99"},
      {File(R"({"a":{"dtype":7,"shape":[1],"data_offsets":[0,4]}})", "abcd"), "dtype"},
      {File(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", "abcd"), "shape"},
      {File(R"({"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}})", "abcd"), "shape"},
      {File(R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})", ""), "too large"},
      {File(R"({"a":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,4]}})", "abcd"), "too large"},
      {File(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}})", "abcd"), "data_offsets"},
      {File(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":["0",4]}})", "abcd"), "data_offsets"},
      {File(R"({"a":{"dtype":"F32","shape":[1]}})", "abcd"), "exactly"},
      {File(R"({"a":3})", ""), "exactly"},
      {File(R"({"__metadata__":{"k":1}})", ""), "__metadata__"},
      {File(R"({"__metadata__":[]})", ""), "__metadata__"},
  };
  for (const auto& [bytes, reason] : cases) {
    Spill(folder / "bad.safetensors", bytes);
    const auto reader = SafetensorsReader::Open(folder / "bad.safetensors");
    ASSERT_EQ(reader.status().code(), absl::StatusCode::kInvalidArgument) << reason;
    EXPECT_THAT(std::string(reader.status().message()), HasSubstr(reason));
    EXPECT_THAT(std::string(reader.status().message()), HasSubstr("bad.safetensors"));
  }
  EXPECT_EQ(SafetensorsReader::Open(folder / "none").status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace photon
