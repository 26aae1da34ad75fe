// photon train on ranks that meet in a folder: what ranks under mpirun compute,
// to the bit.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "checkpoint/store.h"
#include "tests/launch/train_process.h"

namespace photon {
namespace {

using ::testing::HasSubstr;
using testing::TrainFolder;
using testing::TrainProcess;

// Shell commands that begin rank 1 and make what follows rank 0.
std::string TwoRanks(const TrainFolder& folder) {
  return absl::StrCat(
      "export OMP_NUM_THREADS=1 PHOTON_INTERFACE=lo "
      "PHOTON_JOB=test PHOTON_RANKS=2 PHOTON_RENDEZVOUS=",
      folder / "", "; PHOTON_RANK=1 ", PHOTON_BINARY, " train --config ", folder.config(), " & export PHOTON_RANK=0");
}

std::vector<double> Losses(const TrainFolder& folder) {
  std::vector<double> losses;
  for (const nlohmann::json& line : Metrics(folder)) {
    losses.push_back(line.contains("loss") ? line["loss"] : line["valid_loss"]);
  }
  return losses;
}

std::vector<float> Weights(const TrainFolder& folder) {
  const auto reader = CheckpointReader::Open(folder.Checkpoint("latest"));
  EXPECT_TRUE(reader.ok()) << reader.status();
  std::vector<float> all;
  for (const ManifestTensor& tensor : reader->manifest().tensors()) {
    const Shape shape(std::vector<int64_t>(tensor.shape().begin(), tensor.shape().end()));
    std::vector<float> values(shape.elements());
    EXPECT_TRUE(reader
                    ->Read(tensor.name(), {std::vector<int64_t>(tensor.shape_size()), shape},
                           Tensor::Wrap(values.data(), shape, DType::kF32))
                    .ok());
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

TEST(Rendezvous, TrainsAsUnderMpirun) {
  const TrainFolder met("steps: 5 valid_every: 5"), launched("steps: 5 valid_every: 5");
  TrainProcess of_mpi(launched, 2, "");
  ASSERT_EQ(of_mpi.Wait(), 0) << of_mpi.Log();
  TrainProcess of_folder(met, 0, "", TwoRanks(met));
  ASSERT_EQ(of_folder.Wait(), 0) << of_folder.Log();
  EXPECT_THAT(of_folder.Log(), HasSubstr("2 ranks"));
  EXPECT_EQ(Losses(met), Losses(launched));
  EXPECT_EQ(Losses(met).size(), 6u);
  EXPECT_EQ(Weights(met), Weights(launched));
}

TEST(Rendezvous, SaysWhatIsMissing) {
  const TrainFolder folder("steps: 1");
  TrainProcess run(folder, 0, "", absl::StrCat("export PHOTON_RENDEZVOUS=", folder / ""));
  EXPECT_EQ(run.Wait(), 2);
  EXPECT_THAT(run.Log(), HasSubstr("PHOTON_RANKS"));
}

}  // namespace
}  // namespace photon
