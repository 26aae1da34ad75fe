#include "inference/engine/prefix_store.h"

#include <algorithm>

#include "absl/hash/hash.h"

namespace photon {
namespace {

int64_t BytesOf(const ReadUnitsOf& read) { return read.state.allocated().total() + read.row_bytes(); }

uint64_t Extended(uint64_t hash, absl::Span<const int32_t> unit) { return absl::HashOf(hash, unit); }

}  // namespace

int64_t ReadUnitsOf::row_bytes() const {
  int64_t bytes = 0;
  for (const Tensor& row : last) bytes += static_cast<int64_t>(row.bytes());
  return bytes;
}

// Of the tokens up to the end of each unit.
std::vector<uint64_t> PrefixStore::Hashes(absl::Span<const int32_t> tokens) const {
  const int64_t unit = decoder_.prompt_unit();
  std::vector<uint64_t> hashes;
  uint64_t hash = 0;
  for (int64_t end = unit; end <= static_cast<int64_t>(tokens.size()); end += unit) {
    hash = Extended(hash, tokens.subspan(end - unit, unit));
    hashes.push_back(hash);
  }
  return hashes;
}

// Hashes can collide; tokens decide.
bool PrefixStore::Begins(const Entry& entry, absl::Span<const int32_t> tokens) const {
  return entry.read.tokens.size() >= tokens.size() &&
         std::equal(tokens.begin(), tokens.end(), entry.read.tokens.begin());
}

PrefixStore::Entries::iterator PrefixStore::Find(uint64_t hash, absl::Span<const int32_t> tokens) const {
  const auto found = by_hash_.find(hash);
  return found != by_hash_.end() && Begins(*found->second, tokens) ? found->second : entries_.end();
}

// Whatever has a beginning has all shorter ones too: the first unit that is not there ends it.
int64_t PrefixStore::Length(absl::Span<const int32_t> prompt, int64_t most) const {
  const int64_t unit = decoder_.prompt_unit();
  std::vector<Entries::iterator> found;
  uint64_t hash = 0;
  for (int64_t end = unit; end <= most; end += unit) {
    hash = Extended(hash, prompt.subspan(end - unit, unit));
    const auto next = by_hash_.find(hash);
    if (next == by_hash_.end()) break;
    found.push_back(next->second);
  }
  const auto kept = [&] { return static_cast<int64_t>(found.size()) * unit; };
  while (!found.empty() && !Begins(*found.back(), prompt.first(kept()))) found.pop_back();
  return kept();
}

// What has the beginning, which came from Length, becomes the last to go.
PrefixStore::Entries::iterator PrefixStore::Use(absl::Span<const int32_t> beginning) {
  const auto found = Find(Hashes(beginning).back(), beginning);
  PHOTON_CHECK(found != entries_.end());
  entries_.splice(entries_.end(), entries_, found);
  for (const uint64_t hash : found->hashes) by_hash_[hash] = found;
  return found;
}

void PrefixStore::Touch(absl::Span<const int32_t> prompt, int64_t most) {
  if (const int64_t kept = Length(prompt, most); kept > 0) Use(prompt.first(kept));
}

DecodingState PrefixStore::Copy(absl::Span<const int32_t> prompt, int64_t tokens, std::vector<Tensor>* last) {
  const auto found = Use(prompt.first(tokens));
  const int64_t units = tokens / decoder_.prompt_unit();
  const std::vector<Tensor>& outputs = found->read.last;
  last->assign(outputs.begin(), outputs.begin() + (outputs.empty() ? 0 : units));
  return decoder_.CopyOfBeginning(found->read.state, tokens, last->empty() ? Tensor() : last->back());
}

void PrefixStore::Keep(const ReadUnitsOf& read, int64_t room) {
  const int64_t tokens = static_cast<int64_t>(read.tokens.size());
  if (tokens == 0 || Length(read.tokens, tokens) == tokens) return;
  const int64_t most = BytesOf(read);  // that a copy of it takes
  if (most > room) return;
  DropBeginningsOf(read.tokens);
  Shrink(room - most);
  Entry entry;
  entry.hashes = Hashes(read.tokens);
  const Tensor behind = read.last.empty() ? Tensor() : read.last.back();
  entry.read = {read.tokens, decoder_.CopyOfBeginning(read.state, tokens, behind), read.last};
  entry.bytes = BytesOf(entry.read);
  bytes_ += entry.bytes;
  entries_.push_back(std::move(entry));
  const auto kept = std::prev(entries_.end());
  for (const uint64_t hash : kept->hashes) by_hash_[hash] = kept;
  Shrink(room);
}

void PrefixStore::Shrink(int64_t bytes) {
  while (bytes_ > bytes) Drop(entries_.begin());
}

// Of a conversation that grows only its whole is kept.
void PrefixStore::DropBeginningsOf(absl::Span<const int32_t> tokens) {
  for (auto next = entries_.begin(); next != entries_.end();) {
    const auto entry = next++;
    const std::vector<int32_t>& kept = entry->read.tokens;
    if (kept.size() < tokens.size() && std::equal(kept.begin(), kept.end(), tokens.begin())) Drop(entry);
  }
}

void PrefixStore::Drop(Entries::iterator entry) {
  for (const uint64_t hash : entry->hashes) {
    const auto found = by_hash_.find(hash);
    if (found != by_hash_.end() && found->second == entry) by_hash_.erase(found);
  }
  bytes_ -= entry->bytes;
  entries_.erase(entry);
}

}  // namespace photon
