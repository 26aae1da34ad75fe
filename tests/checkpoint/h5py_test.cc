// Other people's tools: h5py opens index.h5 and sees whole tensors, wherever the folder went.
#include <stdlib.h>

#include "tests/checkpoint/fixtures.h"

namespace photon {
namespace {

using namespace photon::testing;

constexpr char kPython[] = "/usr/bin/python3";  // the distribution's, which its h5py belongs to

// Every element of every tensor must be base + global index; nothing else may be in the file.
constexpr char kScript[] = R"(
import sys, h5py, numpy
want = {}
for line in open(sys.argv[2]):
    name, base, dtype, *shape = line.split()
    want[name] = (int(base), dtype, tuple(map(int, shape)))
with h5py.File(sys.argv[1], 'r') as index:
    assert set(index.keys()) == set(want), set(index.keys()) ^ set(want)
    for name, (base, dtype, shape) in want.items():
        got = index[name]
        assert isinstance(got, h5py.Dataset) and got.shape == shape and got.dtype == numpy.dtype(dtype), (name, got)
        expected = base + numpy.arange(numpy.prod(shape)).reshape(shape)
        assert (got[...] == expected).all(), name
)";

class H5py : public ::testing::TestWithParam<Layout> {};

TEST_P(H5py, SeesWholeTensors) {
  if (system((std::string(kPython) + " -c 'import h5py' >/dev/null 2>&1").c_str()) != 0) {
    GTEST_SKIP() << "no h5py in " << kPython << " (package python3-h5py)";
  }
  TemporaryFolder folder;
  WriteSample(CheckpointDir(folder / "run", 1), 3, GetParam());
  ASSERT_TRUE(PublishCheckpoint(folder / "run", 1, 0).ok());
  std::string want;
  for (const SampleTensor& tensor : SampleTensors()) {
    want += tensor.name + " " + std::to_string(SampleValue(tensor.name, 0));
    want += tensor.dtype == DType::kF64 ? " <f8" : tensor.dtype == DType::kI64 ? " <i8" : " <f4";
    for (int64_t d : tensor.shape.dims()) want += " " + std::to_string(d);
    want += "\n";
  }
  Spill(folder / "want.txt", want);
  Spill(folder / "check.py", kScript);
  const auto check = [&](const std::string& from, const std::string& index) {
    return system(
        ("cd " + from + " && " + kPython + " " + folder / "check.py" + " " + index + " " + folder / "want.txt")
            .c_str());
  };
  EXPECT_EQ(check("/", CheckpointDir(folder / "run", 1) + "/index.h5"), 0);
  EXPECT_EQ(check("/", folder / "run/checkpoints/latest/index.h5"), 0) << "through the link";
  EXPECT_EQ(check(CheckpointDir(folder / "run", 1), "index.h5"), 0) << "from inside";
  std::filesystem::rename(folder / "run", folder / "moved");
  EXPECT_EQ(check(folder.path(), "moved/checkpoints/step-00000001/index.h5"), 0) << "moved, relative path";
}

INSTANTIATE_TEST_SUITE_P(Layouts, H5py, ::testing::Values(Layout::kColumns, Layout::kFlat));

}  // namespace
}  // namespace photon
