#include "core/profiler.h"

#include "absl/strings/str_cat.h"
#include "core/check.h"
#include "core/time.h"

namespace photon {

absl::string_view Name(Traffic traffic) {
  constexpr absl::string_view kNames[kTraffics] = {"converted", "copied", "added", "zeroed", "uploaded", "downloaded"};
  return kNames[static_cast<int>(traffic)];
}

void Profiler::SetMarker(RangeMarker* marker) {
  PHOTON_CHECK(open_.empty()) << "[profiler] marker set inside scope " << scopes_[current()].name;
  marker_ = marker;
}

void Profiler::SetActive(bool active) {
  PHOTON_CHECK(open_.empty()) << "[profiler] switched inside scope " << scopes_[current()].name;
  active_ = active;
}

void Profiler::Clear() {
  PHOTON_CHECK(open_.empty()) << "[profiler] cleared inside scope " << scopes_[current()].name;
  scopes_.assign(1, ScopeTotals());
  spans_.clear();
}

Profiler::ScopeId Profiler::Child(ScopeId parent, absl::string_view name) {
  for (const ScopeId child : scopes_[parent].children) {
    if (scopes_[child].name == name) return child;
  }
  const auto id = static_cast<ScopeId>(scopes_.size());
  scopes_.push_back({.name = std::string(name), .parent = parent});
  scopes_[parent].children.push_back(id);
  return id;
}

std::string Profiler::Path(ScopeId scope) const {
  const ScopeTotals& totals = scopes_[scope];
  return totals.parent == 0 ? totals.name : absl::StrCat(Path(totals.parent), "/", totals.name);
}

double Profiler::Time() const {
  if (!active_) return 0;
  if (wait_) wait_();
  return Now();
}

void Profiler::Enter(absl::string_view name) {
  const ScopeId scope = Child(current(), name);
  const bool backward = !open_.empty() && open_.back().backward;  // a span that is run again for its gradients
  open_.push_back({scope, backward, Time(), 0});
  if (marker_ != nullptr) marker_->Push(std::string(name));
}

void Profiler::EnterBackward(ScopeId scope) {
  open_.push_back({scope, /*backward=*/true, Time(), 0});
  if (marker_ != nullptr) marker_->Push(absl::StrCat("backward ", Path(scope)));
}

void Profiler::Leave() {
  PHOTON_CHECK(!open_.empty()) << "[profiler] left a scope that was not entered";
  const Open ended = open_.back();
  const double now = Time();
  open_.pop_back();
  if (marker_ != nullptr) marker_->Pop();
  if (!active_) return;
  ScopeTotals& totals = scopes_[ended.scope];
  (ended.backward ? totals.backward_s : totals.forward_s) += now - ended.began - ended.inside_s;
  if (!open_.empty()) open_.back().inside_s += now - ended.began;
  spans_.push_back({ended.scope, ended.backward, /*track=*/0, ended.began, now});
}

void Profiler::AddSpan(absl::string_view name, int track, double begin, double end) {
  if (active_) spans_.push_back({Child(0, name), /*backward=*/false, track, begin, end});
}

}  // namespace photon
