// A piece of every sequence of a batch: number `index` of `count` equal ones.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace photon {

struct Span {
  int64_t index = 0, count = 1;

  // The span's rows of `values`, which are those of `sequences` whole sequences, one after the other.
  template <typename T>
  std::vector<T> Cut(std::vector<T> values, int64_t sequences) const {
    if (count == 1) return values;
    const int64_t length = static_cast<int64_t>(values.size()) / sequences / count;
    for (int64_t s = 0; s < sequences; ++s) {
      const auto begin = values.begin() + (s * count + index) * length;
      std::copy(begin, begin + length, values.begin() + s * length);  // never behind what is still to be read
    }
    values.resize(sequences * length);
    return values;
  }
};

}  // namespace photon
