#include "inference/engine/prefix_store.h"

#include <gtest/gtest.h>

#include "tests/support/models.h"
#include "tests/support/tensors.h"

namespace photon::testing {
namespace {

class PrefixStoreTest : public ::testing::Test {
 protected:
  // What a prompt of whole meta-contexts of 16 leaves.
  ReadUnitsOf Read(const std::vector<int32_t>& tokens) const {
    ReadUnitsOf read;
    read.tokens = tokens;
    read.state = decoder_->NewState(0);
    const Tensor last = decoder_->ReadUnits({&read.state}, tokens);
    for (int64_t u = 0; u < last.dim(0); ++u) read.last.push_back(last.Rows(u, u + 1));
    return read;
  }
  static std::vector<int32_t> Joined(std::vector<int32_t> a, const std::vector<int32_t>& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
  }

  static constexpr int64_t kRoom = 1 << 30;
  TestContext context_;
  std::unique_ptr<LanguageModel> model_ = MakeModel(context_, {});
  std::unique_ptr<Decoder> decoder_ = Decoder::Create(context_, *model_);
  PrefixStore store_{*decoder_};
  const std::vector<int32_t> a_ = RandomTokens(16, 19, 1), b_ = RandomTokens(16, 19, 2), c_ = RandomTokens(16, 19, 3);
};

TEST_F(PrefixStoreTest, FindsTheLongestKeptBeginning) {
  EXPECT_EQ(store_.Length(Joined(a_, b_), 32), 0);
  store_.Keep(Read(Joined(a_, b_)), kRoom);
  EXPECT_EQ(store_.Length(Joined(a_, b_), 32), 32);
  EXPECT_EQ(store_.Length(Joined(a_, b_), 16), 16);
  EXPECT_EQ(store_.Length(Joined(a_, c_), 32), 16);
  EXPECT_EQ(store_.Length(Joined(c_, b_), 32), 0);
  const int64_t bytes = store_.bytes();
  EXPECT_GT(bytes, 0);
  store_.Keep(Read(a_), kRoom);
  EXPECT_EQ(store_.bytes(), bytes) << "kept already";
  store_.Shrink(0);
  EXPECT_EQ(store_.bytes(), 0);
  EXPECT_EQ(store_.Length(a_, 16), 0);
}

// Two that begin alike: while one of them is kept, so is the beginning, whichever goes first.
TEST_F(PrefixStoreTest, TheLeastRecentlyUsedGoesAndSharedBeginningsStay) {
  store_.Keep(Read(Joined(a_, b_)), kRoom);
  const int64_t each = store_.bytes();
  store_.Keep(Read(Joined(a_, c_)), kRoom);
  std::vector<Tensor> last;
  store_.Copy(Joined(a_, b_), 32, &last);  // is the more recently used now
  store_.Shrink(each);
  EXPECT_EQ(store_.Length(Joined(a_, b_), 32), 32);
  EXPECT_EQ(store_.Length(Joined(a_, c_), 32), 16);
}

// Who is about to use a beginning says so before room is made for him.
TEST_F(PrefixStoreTest, WhatIsTouchedStays) {
  store_.Keep(Read(Joined(a_, b_)), kRoom);
  const int64_t each = store_.bytes();
  store_.Keep(Read(Joined(c_, b_)), kRoom);
  store_.Touch(Joined(a_, c_), 32);  // of which a_ is kept
  store_.Touch(Joined(b_, c_), 32);  // of which nothing is
  store_.Shrink(each);
  EXPECT_EQ(store_.Length(Joined(a_, b_), 32), 32);
  EXPECT_EQ(store_.Length(Joined(c_, b_), 32), 0);
}

// A conversation that grows takes the place of its own beginnings, not of another's.
TEST_F(PrefixStoreTest, OfABeginningAndWhatFollowsItTheWholeIsKept) {
  const std::vector<int32_t> ab = Joined(a_, b_), abc = Joined(ab, c_), other = Joined(c_, a_);
  store_.Keep(Read(abc), kRoom);
  const int64_t whole = store_.bytes();
  store_.Shrink(0);
  store_.Keep(Read(other), kRoom);
  const int64_t others = store_.bytes();
  store_.Keep(Read(a_), whole + others);
  store_.Keep(Read(ab), whole + others);
  store_.Keep(Read(abc), whole + others);
  EXPECT_EQ(store_.bytes(), whole + others);
  EXPECT_EQ(store_.Length(abc, 48), 48);
  EXPECT_EQ(store_.Length(ab, 32), 32);
  EXPECT_EQ(store_.Length(other, 32), 32);
  store_.Shrink(whole);
  EXPECT_EQ(store_.Length(other, 32), 0) << "the older one";
  EXPECT_EQ(store_.Length(abc, 48), 48);
}

// Never more is held than there is room for, not even for a moment: what is too large is not copied first.
TEST_F(PrefixStoreTest, KeepsWhatThereIsRoomFor) {
  store_.Keep(Read(Joined(a_, b_)), kRoom);
  const int64_t each = store_.bytes();
  const ReadUnitsOf second = Read(Joined(a_, c_)), third = Read(Joined(b_, c_));
  Arena& arena = context_.arena();
  arena.ResetPeak();
  const size_t before = arena.in_use();
  store_.Keep(second, each);
  EXPECT_EQ(store_.bytes(), each);
  EXPECT_EQ(store_.Length(Joined(a_, c_), 32), 32);
  EXPECT_EQ(store_.Length(Joined(a_, b_), 32), 16);
  store_.Keep(third, each - 1);
  EXPECT_EQ(store_.bytes(), each) << "what doesn't fit drives nothing out";
  EXPECT_EQ(store_.Length(Joined(b_, c_), 32), 0);
  EXPECT_LE(arena.peak(), before);
}

}  // namespace
}  // namespace photon::testing
