#include "data/token_reader.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "core/check.h"

namespace photon {
namespace {

// 2 kB of a table at a time: where documents' lengths vary as those of texts do, the second guess among 10^8 documents
// mostly lies that near.
constexpr int64_t kWindow = 256;
constexpr int64_t kLengths = 32;  // sequences of a sample, mostly

// Calls f with a value of the C++ type that `type` names.
template <typename F>
void VisitId(IdType type, F&& f) {
  switch (type) {
    case IdType::kU8:
      return f(uint8_t{});
    case IdType::kI8:
      return f(int8_t{});
    case IdType::kI16:
      return f(int16_t{});
    case IdType::kI64:
      return f(int64_t{});
    case IdType::kU16:
      return f(uint16_t{});
    case IdType::kI32:
      break;
  }
  return f(int32_t{});
}

template <typename Id>
void Widen(const char* from, absl::Span<int32_t> out) {
  for (size_t i = 0; i < out.size(); ++i) {
    Id id;
    std::memcpy(&id, from + i * sizeof(Id), sizeof(Id));
    if constexpr (std::is_same_v<Id, int64_t>) {
      if (id > std::numeric_limits<int32_t>::max() || id < 0) id = -1;
    }
    out[i] = static_cast<int32_t>(id);
  }
}

}  // namespace

TokenReader::TokenReader(const TokenFile& file)
    : file_(file),
      pointers_(file, file.pointers_at(), file.sequences()),
      entries_(file, file.entries_at(), file.documents() + 1) {}

absl::Status TokenReader::Read(int64_t position, absl::Span<int32_t> out) {
  const auto count = static_cast<int64_t>(out.size());
  PHOTON_CHECK(position >= 0 && position <= file_.tokens() - count)
      << position << " + " << count << " of " << file_.tokens();
  const int64_t width = IdBytes(file_.type());
  if (file_.type() == IdType::kI32) return file_.ids().Read(position * width, out.data(), count * width);
  if (static_cast<int64_t>(bytes_.size()) < count * width) bytes_.resize(count * width);
  PHOTON_RETURN_IF_ERROR(file_.ids().Read(position * width, bytes_.data(), count * width));
  VisitId(file_.type(), [&](auto id) { Widen<decltype(id)>(bytes_.data(), out); });
  return absl::OkStatus();
}

absl::Status TokenReader::Table::Fetch(int64_t first) {
  first_ = first;
  window_.resize(kWindow);
  const int64_t count = std::min(kWindow, size_ - first);
  const absl::Status read = file_.ReadIndex(at_ + 8 * first, window_.data(), 8 * count);
  window_.resize(read.ok() ? count : 0);
  return read;
}

absl::StatusOr<int64_t> TokenReader::Table::At(int64_t index) {
  PHOTON_CHECK(index >= 0 && index < size_) << index << " of " << size_;
  if (index < first_ || index >= first_ + static_cast<int64_t>(window_.size())) PHOTON_RETURN_IF_ERROR(Fetch(index));
  return window_[index - first_];
}

absl::StatusOr<int64_t> TokenReader::Table::FindLast(int64_t target, int64_t beyond, int64_t guess) {
  int64_t low = 0, high = size_;  // it lies in [low, high)
  int64_t low_value = 0, high_value = beyond;
  for (int round = 0; low < high; ++round) {
    // Interpolation finds its way in two or three rounds where documents are alike; halving, in turns with it from then
    // on, where they are not.
    if (round > 0) {
      const double share = static_cast<double>(target - low_value) / static_cast<double>(high_value - low_value);
      const bool halve = round > 3 && round % 2 == 0;
      guess = low + static_cast<int64_t>((halve ? 0.5 : share) * static_cast<double>(high - low));
    }
    PHOTON_RETURN_IF_ERROR(Fetch(std::clamp(guess - kWindow / 2, low, std::max(low, high - kWindow))));
    const int64_t end = first_ + static_cast<int64_t>(window_.size());
    if (window_.front() > target) {
      high = first_;
      high_value = window_.front();
    } else if (window_.back() <= target && end < high) {
      low = end - 1;
      low_value = window_.back();
    } else {
      return first_ + (std::upper_bound(window_.begin(), window_.end(), target) - window_.begin()) - 1;
    }
  }
  return absl::InvalidArgumentError("not in order");
}

absl::Status TokenReader::ContradictsItself(int64_t document) const {
  return BrokenTokenFile(file_.index().path(), absl::StrCat("document ", document,
                                                            ": its sequences don't lie side by side in the .bin file"));
}

absl::Status TokenReader::CheckSequences(int64_t first, int64_t end, int64_t document) {
  sequence_ends_.clear();
  const int64_t width = IdBytes(file_.type());
  PHOTON_ASSIGN_OR_RETURN(int64_t at, pointers_.At(first));
  for (int64_t s = first; at < end;) {
    const int64_t count = std::min(kLengths, file_.sequences() - s);
    lengths_.resize(count);
    PHOTON_RETURN_IF_ERROR(file_.ReadIndex(file_.lengths_at() + 4 * s, lengths_.data(), 4 * count));
    for (int64_t i = 0; i < count && at < end; ++i, ++s) {
      int64_t next = file_.ids().size();
      if (s + 1 < file_.sequences()) {
        PHOTON_ASSIGN_OR_RETURN(next, pointers_.At(s + 1));
      }
      if (lengths_[i] < 0 || at + lengths_[i] * width != next) return ContradictsItself(document);
      at = next;
      sequence_ends_.push_back(at);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<TokenReader::Documents> TokenReader::FindDocuments(int64_t begin, int64_t count) {
  PHOTON_CHECK(begin >= 0 && count > 0 && begin <= file_.tokens() - count)
      << begin << " + " << count << " of " << file_.tokens();
  const int64_t width = IdBytes(file_.type()), sequences = file_.sequences(), documents = file_.documents();
  const auto part = [](int64_t share, int64_t whole, int64_t of) {
    return static_cast<int64_t>(static_cast<double>(share) / static_cast<double>(whole) * static_cast<double>(of));
  };
  const absl::StatusOr<int64_t> sequence =
      pointers_.FindLast(begin * width, file_.ids().size(), part(begin, file_.tokens(), sequences));
  if (absl::IsInvalidArgument(sequence.status())) return ContradictsItself(part(begin, file_.tokens(), documents));
  PHOTON_RETURN_IF_ERROR(sequence.status());
  const int64_t guess = documents == sequences ? *sequence : part(*sequence, sequences, documents);
  const absl::StatusOr<int64_t> found = entries_.FindLast(*sequence, sequences + 1, guess);
  if (absl::IsInvalidArgument(found.status())) return ContradictsItself(guess);
  PHOTON_RETURN_IF_ERROR(found.status());
  const int64_t end = begin + count;
  PHOTON_RETURN_IF_ERROR(CheckSequences(*sequence, end * width, *found));
  ends_.clear();
  int64_t at = begin, held = 1;  // sequences of the range that the documents so far hold; the first has one
  for (int64_t document = *found; at < end; ++document) {
    if (document >= documents) return ContradictsItself(documents - 1);
    PHOTON_ASSIGN_OR_RETURN(const int64_t last, entries_.At(document + 1));
    if (last - *sequence < held || last > sequences) return ContradictsItself(document);
    held = last - *sequence;
    const bool inside = held <= static_cast<int64_t>(sequence_ends_.size());
    at = inside ? std::min(end, sequence_ends_[held - 1] / width) : end;
    ends_.push_back(at);
  }
  return Documents{.first = *found, .ends = ends_};
}

}  // namespace photon
