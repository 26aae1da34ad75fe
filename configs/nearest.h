// "did you mean": the known name that is closest to one that isn't.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace photon {

// Number of insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b`.
int EditDistance(absl::string_view a, absl::string_view b);

// `; did you mean "width"?` with the nearest of `known`, or the list of all where none is near (`; known: a, b`).
// Empty where `known` is empty.
std::string DidYouMean(absl::string_view unknown, const std::vector<std::string>& known);

}  // namespace photon
