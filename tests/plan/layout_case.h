// Layouts as parameters of tests.
#pragma once

#include <ostream>
#include <string>
#include <vector>

namespace photon::testing {

struct LayoutCase {
  std::string name;
  int ranks;
  std::vector<std::string> fields;  // "parallel.tp=2", ..
};

inline void PrintTo(const LayoutCase& c, std::ostream* out) { *out << c.name; }

}  // namespace photon::testing
