// The threads of a block that can go on, and which of them does.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

#include "tests/simt/emulator/order.h"

namespace photon::simt {

class ReadySet {
 public:
  ReadySet(int threads, ThreadOrder order) : words_((threads + 63) / 64), order_(order), random_(order.seed * 2 + 1) {}

  bool empty() const { return count_ == 0; }
  void Add(int i) {
    words_[i / 64] |= uint64_t{1} << i % 64;
    ++count_;
  }
  // Not empty.
  int Take() {
    const int words = static_cast<int>(words_.size());
    int i;
    if (order_.kind == ThreadOrder::kFirst) {
      i = From(0);
    } else if (order_.kind == ThreadOrder::kLast) {
      int word = words - 1;
      while (words_[word] == 0) --word;
      i = word * 64 + 63 - std::countl_zero(words_[word]);
    } else {
      i = From(Random() % (words * 64));
    }
    words_[i / 64] &= ~(uint64_t{1} << i % 64);
    --count_;
    return i;
  }

 private:
  // The first at `begin` or after it; after the last one comes the first.
  int From(int begin) const {
    const int words = static_cast<int>(words_.size());
    int word = begin / 64;
    uint64_t bits = words_[word] & (~uint64_t{0} << begin % 64);
    while (bits == 0) {
      word = (word + 1) % words;
      bits = words_[word];
    }
    return word * 64 + std::countr_zero(bits);
  }
  // xorshift64*
  uint32_t Random() {
    random_ ^= random_ >> 12;
    random_ ^= random_ << 25;
    random_ ^= random_ >> 27;
    return static_cast<uint32_t>((random_ * 0x2545f4914f6cdd1dull) >> 33);
  }

  std::vector<uint64_t> words_;
  ThreadOrder order_;
  uint64_t random_;
  int count_ = 0;
};

}  // namespace photon::simt
