#include "data/bpe/model.h"

#include <algorithm>
#include <queue>
#include <utility>

#include "data/bpe/byte_alphabet.h"

namespace photon {
namespace {

// Up to this length looking through all pairs for the best is faster than keeping them in a heap.
constexpr size_t kShort = 48;

uint64_t Pair(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

}  // namespace

BpeModel::BpeModel(const BpeSpec& spec) {
  bytes_.fill(-1);
  for (const BpeSpec::Piece& piece : spec.vocab) {
    const auto bytes = FromByteAlphabet(piece.text);
    if (!bytes.has_value() || bytes->empty()) continue;
    if (bytes->size() == 1) bytes_[static_cast<uint8_t>((*bytes)[0])] = piece.id;
    if (spec.ignore_merges) whole_words_.emplace(*bytes, piece.id);
  }
  merges_.reserve(spec.merges.size());
  for (size_t rank = 0; rank < spec.merges.size(); ++rank) {  // of a pair that is listed twice, the later rank counts
    const auto& [left, right, result] = spec.merges[rank];
    merges_[Pair(left, right)] = {static_cast<uint32_t>(rank), result};
  }
}

BpeModel::Merge BpeModel::Find(int32_t left, int32_t right) const {
  const auto found = merges_.find(Pair(left, right));
  return found == merges_.end() ? Merge{kNoMerge, -1} : found->second;
}

void BpeModel::Encode(absl::string_view word, std::vector<int32_t>* ids) const {
  if (!whole_words_.empty()) {
    if (const auto whole = whole_words_.find(word); whole != whole_words_.end()) {
      ids->push_back(whole->second);
      return;
    }
  }
  word.size() <= kShort ? EncodeShort(word, ids) : EncodeLong(word, ids);
}

void BpeModel::EncodeShort(absl::string_view word, std::vector<int32_t>* ids) const {
  int32_t pieces[kShort];
  Merge merges[kShort];  // of a piece with the next
  size_t n = word.size();
  for (size_t i = 0; i < n; ++i) pieces[i] = bytes_[static_cast<uint8_t>(word[i])];
  for (size_t i = 0; i + 1 < n; ++i) merges[i] = Find(pieces[i], pieces[i + 1]);
  while (n > 1) {
    const Merge* best =
        std::min_element(merges, merges + n - 1, [](const Merge& a, const Merge& b) { return a.rank < b.rank; });
    if (best->rank == kNoMerge) break;
    const size_t at = best - merges;
    pieces[at] = best->result;
    std::move(pieces + at + 2, pieces + n, pieces + at + 1);
    std::move(merges + at + 1, merges + n - 1, merges + at);
    --n;
    if (at > 0) merges[at - 1] = Find(pieces[at - 1], pieces[at]);
    if (at + 1 < n) merges[at] = Find(pieces[at], pieces[at + 1]);
  }
  ids->insert(ids->end(), pieces, pieces + n);
}

void BpeModel::EncodeLong(absl::string_view word, std::vector<int32_t>* ids) const {
  struct Piece {
    int32_t id;  // -1: joined to the one before
    size_t previous, next;
  };
  struct Candidate {
    uint32_t rank;
    size_t at;
    int32_t left, right, result;
    bool operator<(const Candidate& other) const {  // a std::priority_queue gives the largest first
      return rank != other.rank ? rank > other.rank : at > other.at;
    }
  };
  constexpr size_t kNowhere = SIZE_MAX;
  std::vector<Piece> pieces(word.size());
  for (size_t i = 0; i < word.size(); ++i) {
    pieces[i] = {bytes_[static_cast<uint8_t>(word[i])], i == 0 ? kNowhere : i - 1,
                 i + 1 == word.size() ? kNowhere : i + 1};
  }
  std::priority_queue<Candidate> candidates;
  const auto consider = [&](size_t at) {
    if (at == kNowhere || pieces[at].next == kNowhere) return;
    const int32_t left = pieces[at].id, right = pieces[pieces[at].next].id;
    const Merge merge = Find(left, right);
    if (merge.rank != kNoMerge) candidates.push({merge.rank, at, left, right, merge.result});
  };
  for (size_t i = 0; i < pieces.size(); ++i) consider(i);
  while (!candidates.empty()) {
    const Candidate best = candidates.top();
    candidates.pop();
    Piece& piece = pieces[best.at];
    // What stood there when this was considered may have been merged since.
    if (piece.id != best.left || piece.next == kNowhere || pieces[piece.next].id != best.right) continue;
    Piece& right = pieces[piece.next];
    piece.id = best.result;
    piece.next = right.next;
    right.id = -1;
    if (piece.next != kNowhere) pieces[piece.next].previous = best.at;
    consider(piece.previous);
    consider(best.at);
  }
  for (size_t i = 0; i != kNowhere; i = pieces[i].next) ids->push_back(pieces[i].id);
}

}  // namespace photon
