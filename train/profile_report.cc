#include "train/profile_report.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace photon {
namespace {

using Json = nlohmann::ordered_json;

// A module: a scope, or those of the same name in all layers of a stack. Seconds of the steps together.
struct Row {
  std::string name;
  double forward_s = 0, backward_s = 0;  // not counting the rows inside
  std::vector<Row> inside = {};

  double all_forward() const {
    double sum = forward_s;
    for (const Row& row : inside) sum += row.all_forward();
    return sum;
  }
  double all_backward() const {
    double sum = backward_s;
    for (const Row& row : inside) sum += row.all_backward();
    return sum;
  }
};

Row& Named(std::vector<Row>& rows, const std::string& name) {
  const auto found = std::find_if(rows.begin(), rows.end(), [&](const Row& row) { return row.name == name; });
  if (found != rows.end()) return *found;
  rows.push_back({.name = name});
  return rows.back();
}

void AddScope(const Profiler& profiler, Profiler::ScopeId id, Row& row) {
  const Profiler::ScopeTotals& scope = profiler.scopes()[id];
  row.forward_s += scope.forward_s;
  row.backward_s += scope.backward_s;
  for (const Profiler::ScopeId child : scope.children) {
    const std::string& name = profiler.scopes()[child].name;
    AddScope(profiler, child, absl::StartsWith(name, "layers.") ? row : Named(row.inside, name));
  }
}

Row Modules(const Profiler& profiler) {
  Row root;
  AddScope(profiler, 0, root);
  return root;
}

std::array<int64_t, kTraffics> Bytes(const Profiler& profiler) {
  std::array<int64_t, kTraffics> sum = {};
  for (const Profiler::ScopeTotals& scope : profiler.scopes()) {
    for (int t = 0; t < kTraffics; ++t) sum[t] += scope.bytes[t];
  }
  return sum;
}

class Table {
 public:
  explicit Table(const ProfiledSteps& profiled) : profiled_(profiled) {
    absl::StrAppendFormat(&text_, "%-36s%12s%12s%12s%9s\n", absl::StrFormat("profile of %d steps", profiled.steps),
                          "forward ms", "backward ms", "together ms", "share");
  }

  // A row and those inside it. Work without a backward pass has no columns for the two.
  void Add(const Row& row, int depth, bool two_ways) {
    const double forward = row.all_forward(), backward = row.all_backward();
    if (forward + backward == 0) return;
    Line(row.name, depth, two_ways ? Milliseconds(forward) : "", two_ways ? Milliseconds(backward) : "",
         forward + backward);
    for (const Row& inside : row.inside) Add(inside, depth + 1, two_ways);
    const double own = row.forward_s + row.backward_s;
    if (!row.inside.empty() && own > 0.0005 * profiled_.seconds) {
      Line("(between)", depth + 1, two_ways ? Milliseconds(row.forward_s) : "",
           two_ways ? Milliseconds(row.backward_s) : "", own);
    }
  }
  void Line(const std::string& name, int depth, const std::string& forward, const std::string& backward, double sum) {
    absl::StrAppendFormat(&text_, "%-36s%12s%12s%12s%7.1f %%\n", std::string(2 * depth, ' ') + name, forward, backward,
                          Milliseconds(sum), 100 * sum / profiled_.seconds);
  }
  std::string& text() { return text_; }

 private:
  std::string Milliseconds(double seconds) const {
    return absl::StrFormat("%.2f", 1e3 * seconds / static_cast<double>(profiled_.steps));
  }

  const ProfiledSteps& profiled_;
  std::string text_;
};

void AddRows(const Row& row, const std::string& path, double steps, Json& rows) {
  if (row.forward_s + row.backward_s > 0 && !path.empty()) {
    rows.push_back({{"scope", path}, {"forward_s", row.forward_s / steps}, {"backward_s", row.backward_s / steps}});
  }
  for (const Row& inside : row.inside) {
    AddRows(inside, path.empty() ? inside.name : absl::StrCat(path, "/", inside.name), steps, rows);
  }
}

std::string ScopePath(const Profiler& profiler, Profiler::ScopeId id) {
  const Profiler::ScopeTotals& scope = profiler.scopes()[id];
  return scope.parent == 0 ? scope.name : absl::StrCat(ScopePath(profiler, scope.parent), "/", scope.name);
}

}  // namespace

std::string ProfileTable(const Profiler& profiler, const ProfiledSteps& profiled) {
  const Row root = Modules(profiler);
  Table table(profiled);
  for (const Row& row : root.inside) table.Add(row, 0, row.all_backward() > 0);
  const double covered = root.all_forward() + root.all_backward() - root.forward_s - root.backward_s;
  table.Line("(everything else)", 0, "", "", profiled.seconds - covered);
  table.Line("step", 0, "", "", profiled.seconds);
  const std::array<int64_t, kTraffics> bytes = Bytes(profiler);
  std::string& text = table.text();
  absl::StrAppend(&text, "moved beside the arithmetic, MB a step:");
  for (int t = 0; t < kTraffics; ++t) {
    absl::StrAppendFormat(&text, "%s %s %.2f", t > 0 ? "," : "", std::string(Name(static_cast<Traffic>(t))),
                          1e-6 * static_cast<double>(bytes[t]) / static_cast<double>(profiled.steps));
  }
  absl::StrAppendFormat(&text, "\nmemory asked of the system: %d times\n", profiled.arena_grown);
  return text;
}

std::string ProfileJson(const Profiler& profiler, const ProfiledSteps& profiled) {
  const auto steps = static_cast<double>(profiled.steps);
  Json rows = Json::array(), bytes = Json::object();
  AddRows(Modules(profiler), "", steps, rows);
  const std::array<int64_t, kTraffics> sums = Bytes(profiler);
  for (int t = 0; t < kTraffics; ++t) {
    bytes[std::string(Name(static_cast<Traffic>(t)))] = static_cast<double>(sums[t]) / steps;
  }
  return Json({{"steps", profiled.steps},
               {"step_s", profiled.seconds / steps},
               {"rows", rows},
               {"bytes", bytes},
               {"arena_grown", profiled.arena_grown}})
      .dump();
}

std::string TraceJson(const Profiler& profiler, int rank) {
  double start = 0;
  for (const Profiler::Span& span : profiler.spans()) start = start == 0 ? span.begin : std::min(start, span.begin);
  std::string text = "{\"traceEvents\":[";
  absl::StrAppendFormat(&text, R"({"name":"process_name","ph":"M","pid":%d,"args":{"name":"rank %d"}})", rank, rank);
  for (const Profiler::Span& span : profiler.spans()) {
    absl::StrAppendFormat(&text,
                          ",\n"
                          R"({"name":%s,"cat":"%s","ph":"X","pid":%d,"tid":%d,"ts":%.3f,"dur":%.3f})",
                          Json(ScopePath(profiler, span.scope)).dump(), span.backward ? "backward" : "forward", rank,
                          span.track, 1e6 * (span.begin - start), 1e6 * (span.end - span.begin));
  }
  absl::StrAppend(&text, "]}\n");
  return text;
}

}  // namespace photon
