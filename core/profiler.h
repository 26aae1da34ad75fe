// Where time goes: nested scopes, named like the model's modules, and the bytes that were moved beside the arithmetic.
//
// A Context may point to a profiler. With none, or while it is off, a Scope costs a comparison. Times are exclusive: a
// scope has what no scope inside it has, so that over all scopes they add up to the time measured. A device's own tool
// can be shown the same ranges (RangeMarker), with the profiler on or off. One thread enters scopes; what other threads
// did is added afterwards with AddSpan().
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "core/context.h"

namespace photon {

// Bytes read and written by operations that compute nothing.
enum class Traffic : uint8_t {
  kConverted,  // between types
  kCopied,     // from tensor to tensor, as they are
  kAdded,      // gradients that could not be taken over or accumulated by who made them
  kZeroed,
  kUploaded,    // from the host
  kDownloaded,  // to it
};
inline constexpr int kTraffics = 6;
absl::string_view Name(Traffic traffic);  // "converted"

// A tool that shows ranges beside what the device did (OpenedDevice::marker()).
class RangeMarker {
 public:
  virtual ~RangeMarker() = default;
  virtual void Push(const std::string& name) = 0;
  virtual void Pop() = 0;
};

class Profiler {
 public:
  using ScopeId = int;  // 0: outside all scopes

  struct ScopeTotals {
    std::string name;
    ScopeId parent = 0;
    double forward_s = 0;   // not counting the scopes inside
    double backward_s = 0;  // in nodes of the tape that were recorded in this scope
    std::array<int64_t, kTraffics> bytes = {};
    std::vector<ScopeId> children = {};  // in the order of their first use
  };
  // Something that took time, for a trace.
  struct Span {
    ScopeId scope;
    bool backward;
    int track;  // 0: the thread that enters scopes
    double begin, end;
  };

  // Called before the clock is read, where operations are only queued: it waits for them, so that a scope has the time
  // of what was queued in it.
  void SetWait(std::function<void()> wait) { wait_ = std::move(wait); }

  // Shows all scopes to `marker` from now on; null: to nobody. Outside all scopes only.
  void SetMarker(RangeMarker* marker);
  // Whether scopes are entered at all: to be timed, or to be shown.
  bool listens() const { return active_ || marker_ != nullptr; }

  // Whether times and traffic are taken. Off at first.
  bool active() const { return active_; }
  // Outside all scopes only. Totals and spans gather until Clear().
  void SetActive(bool active);
  void Clear();

  // Enters the scope `name` inside the current one.
  void Enter(absl::string_view name);
  // Enters a scope again, from anywhere, for the backward pass of what was recorded in it.
  void EnterBackward(ScopeId scope);
  void Leave();
  ScopeId current() const { return open_.empty() ? 0 : open_.back().scope; }

  void Count(Traffic traffic, int64_t bytes) {
    if (active_) scopes_[current()].bytes[static_cast<int>(traffic)] += bytes;
  }
  // What another thread did, for the trace alone; `track` from 1.
  void AddSpan(absl::string_view name, int track, double begin, double end);

  // [0] is the root; a scope comes after its parent.
  const std::deque<ScopeTotals>& scopes() const { return scopes_; }
  const std::vector<Span>& spans() const { return spans_; }

 private:
  struct Open {
    ScopeId scope;
    bool backward;
    double began;
    double inside_s;  // in scopes within
  };
  ScopeId Child(ScopeId parent, absl::string_view name);
  std::string Path(ScopeId scope) const;  // "level.1.decoder/layers.0/attention"
  double Time() const;                    // 0 while off

  std::function<void()> wait_;
  RangeMarker* marker_ = nullptr;
  bool active_ = false;
  std::vector<Open> open_;
  std::deque<ScopeTotals> scopes_ = std::deque<ScopeTotals>(1);
  std::vector<Span> spans_;
};

// The context's profiler while it wants scopes; else null.
inline Profiler* ActiveProfiler(const Context& context) {
  Profiler* profiler = context.profiler();
  return profiler != nullptr && profiler->listens() ? profiler : nullptr;
}

inline void CountTraffic(const Context& context, Traffic traffic, size_t bytes) {
  if (Profiler* profiler = ActiveProfiler(context)) profiler->Count(traffic, static_cast<int64_t>(bytes));
}

// A scope for as long as this lives.
class Scope {
 public:
  Scope(const Context& context, absl::string_view name) : profiler_(ActiveProfiler(context)) {
    if (profiler_ != nullptr) profiler_->Enter(name);
  }
  // Of the backward pass of what was recorded in `scope`.
  Scope(const Context& context, Profiler::ScopeId scope) : profiler_(ActiveProfiler(context)) {
    if (profiler_ != nullptr) profiler_->EnterBackward(scope);
  }
  ~Scope() {
    if (profiler_ != nullptr) profiler_->Leave();
  }
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

 private:
  Profiler* profiler_;
};

// The scope that is open; 0 without a profiler.
inline Profiler::ScopeId CurrentScope(const Context& context) {
  const Profiler* profiler = ActiveProfiler(context);
  return profiler != nullptr ? profiler->current() : 0;
}

}  // namespace photon
