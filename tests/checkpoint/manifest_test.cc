// What a manifest may say: intact text of the right version is not enough.
#include "checkpoint/manifest.h"

#include <gmock/gmock.h>

namespace photon {
namespace {

using ::testing::HasSubstr;

ManifestShard Shard(int64_t begin, int64_t rows) {
  ManifestShard shard;
  shard.set_file("model-00000-of-00001.h5");
  shard.set_dataset("w");
  shard.add_offset(begin);
  shard.add_shape(rows);
  return shard;
}

// One tensor of 5 elements, rows 0..1 and 2..4.
Manifest Good() {
  Manifest manifest;
  manifest.set_format_version(kCheckpointFormat);
  manifest.add_files()->set_name("model-00000-of-00001.h5");
  ManifestTensor& tensor = *manifest.add_tensors();
  tensor.set_name("w");
  tensor.set_dtype("f32");
  tensor.set_section("model");
  tensor.add_shape(5);
  *tensor.add_shards() = Shard(0, 2);
  *tensor.add_shards() = Shard(2, 3);
  return manifest;
}

void ExpectRefused(const Manifest& manifest, const std::string& why) {
  const absl::Status status = ManifestFromText(ManifestToText(manifest)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr(why));
}

TEST(Manifest, FilesStayInTheFolder) {
  const absl::StatusOr<Manifest> good = ManifestFromText(ManifestToText(Good()));
  ASSERT_TRUE(good.ok()) << good.status();
  for (const char* name : {"", "..", "../model.h5", "/etc/passwd", "a/b.h5"}) {
    Manifest file = Good(), shard = Good(), tokenizer = Good();
    file.mutable_files(0)->set_name(name);
    shard.mutable_tensors(0)->mutable_shards(1)->set_file(name);
    tokenizer.set_tokenizer(name);
    for (const Manifest& bad : {file, shard, tokenizer}) ExpectRefused(bad, "not a file name");
  }
}

TEST(Manifest, ShardsMakeUpTheirTensor) {
  Manifest hole = Good(), twice = Good(), outside = Good(), scalar = Good();
  *hole.mutable_tensors(0)->mutable_shards(1) = Shard(3, 2);
  ExpectRefused(hole, "cover 4 of 5");
  *twice.mutable_tensors(0)->mutable_shards(1) = Shard(1, 3);
  ExpectRefused(twice, "overlap");
  *outside.mutable_tensors(0)->mutable_shards(1) = Shard(2, 4);
  ExpectRefused(outside, "outside");
  scalar.mutable_tensors(0)->clear_shape();
  for (ManifestShard& shard : *scalar.mutable_tensors(0)->mutable_shards()) {
    shard.clear_offset();
    shard.clear_shape();
  }
  ExpectRefused(scalar, "described wrongly");
}

}  // namespace
}  // namespace photon
