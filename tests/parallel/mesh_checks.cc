// The part of collective_checks.h that is about meshes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "parallel/mesh.h"
#include "tests/parallel/collective_checks.h"

namespace photon::testing {
namespace {

using ::testing::HasSubstr;

// World ranks that differ from `rank` along `axes` alone, by counting [dp][pp][cp][tp] in loops.
std::vector<int32_t> MembersByHand(int rank, AxisSet axes, const std::array<int, kMeshAxes>& sizes) {
  const MeshCoordinates own = CoordinatesOf(rank, sizes);
  std::vector<int32_t> members;
  int other = 0;
  for (int dp = 0; dp < sizes[0]; ++dp) {
    for (int pp = 0; pp < sizes[1]; ++pp) {
      for (int cp = 0; cp < sizes[2]; ++cp) {
        for (int tp = 0; tp < sizes[3]; ++tp, ++other) {
          const int at[] = {dp, pp, cp, tp};
          bool in = true;
          for (int axis = 0; axis < kMeshAxes; ++axis) {
            in &= axes.contains(static_cast<MeshAxis>(axis)) || at[axis] == own.index[axis];
          }
          if (in) members.push_back(other);
        }
      }
    }
  }
  return members;
}

}  // namespace

void CheckMesh(Communicator& comm) {
  const absl::StatusOr<Mesh> mesh = Mesh::Create(comm, ParallelConfig());
  ASSERT_EQ(mesh.status(), absl::OkStatus());
  EXPECT_EQ(mesh->at().size, (std::array<int, kMeshAxes>{comm.size(), 1, 1, 1}));
  EXPECT_EQ(mesh->at().index, (std::array<int, kMeshAxes>{comm.rank(), 0, 0, 0}));
  EXPECT_EQ(mesh->axis(MeshAxis::kDp).size(), comm.size());
  EXPECT_EQ(mesh->axis(MeshAxis::kDp).rank(), comm.rank());
  for (MeshAxis axis : {MeshAxis::kPp, MeshAxis::kCp, MeshAxis::kTp}) EXPECT_EQ(mesh->axis(axis).size(), 1);
  EXPECT_EQ(*AllReduceScalar(mesh->axis(MeshAxis::kDp), "one", 1, Reduction::kSum), comm.size());
  for (int wrong : {comm.size() + 1, 0}) {
    ParallelConfig config;
    config.set_dp(wrong);
    const absl::Status status = Mesh::Create(comm, config).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(status.message(), HasSubstr("parallel"));
  }
}

void CheckMeshGroups(Communicator& comm) {
  constexpr MeshAxis kDp = MeshAxis::kDp, kPp = MeshAxis::kPp, kCp = MeshAxis::kCp, kTp = MeshAxis::kTp;
  const int n = comm.size();
  for (int pp = 1; pp <= n; ++pp) {
    for (int cp = 1; cp <= n; ++cp) {
      for (int tp = 1; tp <= n; ++tp) {
        if (n % (pp * cp * tp) != 0) continue;
        ParallelConfig config;
        config.set_pp(pp);
        config.set_cp(cp);
        config.set_tp(tp);
        config.set_overlap_reduction(true);
        const std::array<int, kMeshAxes> sizes = {n / (pp * cp * tp), pp, cp, tp};
        const absl::StatusOr<Mesh> mesh = Mesh::Create(comm, config);
        ASSERT_EQ(mesh.status(), absl::OkStatus());
        EXPECT_EQ(mesh->at().size, sizes);
        EXPECT_EQ(mesh->at().index, CoordinatesOf(comm.rank(), sizes).index);
        for (const AxisSet axes :
             {AxisSet(), AxisSet{kDp}, AxisSet{kPp}, AxisSet{kCp}, AxisSet{kTp}, AxisSet{kCp, kTp}, AxisSet{kPp, kTp},
              AxisSet{kDp, kCp}, AxisSet{kDp, kCp, kTp}, AxisSet{kDp, kPp, kCp}, AxisSet{kDp, kPp, kCp, kTp}}) {
          const std::vector<int32_t> members = MembersByHand(comm.rank(), axes, sizes);
          Communicator& group = mesh->group(axes);
          ASSERT_EQ(group.size(), static_cast<int>(members.size()));
          std::vector<int32_t> own = {comm.rank()}, all(members.size());
          const auto over = [](std::vector<int32_t>& ranks) {
            return Tensor::Wrap(ranks.data(), {static_cast<int64_t>(ranks.size())}, DType::kI32);
          };
          EXPECT_EQ(group.AllGather("members", over(own), over(all)), absl::OkStatus());
          EXPECT_EQ(all, members);
        }
        Communicator* background = mesh->background({kDp, kCp});
        ASSERT_EQ(background != nullptr, sizes[0] * cp > 1);
        if (background != nullptr) {
          EXPECT_EQ(background->size(), sizes[0] * cp);
          EXPECT_NE(background, &mesh->group({kDp, kCp}));
        }
      }
    }
  }
}

}  // namespace photon::testing
