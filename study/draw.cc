#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "core/gnuplot.h"
#include "study/report.h"

namespace photon::study {
namespace {

// One kind in one mode, through its sizes.
struct Curve {
  Kind kind;
  GenerationMode mode;
  std::string points;  // "TPM loss size" lines, gnuplot's own inline data
};

std::vector<Curve> CurvesOf(const std::vector<Point>& points) {
  std::vector<Curve> curves;
  for (const Point& point : points) {
    if (!std::isfinite(point.loss()) || !std::isfinite(point.speed.tpm) || point.speed.tpm <= 0) continue;
    auto at = std::find_if(curves.begin(), curves.end(),
                           [&](const Curve& c) { return c.kind == point.kind && c.mode == point.mode; });
    if (at == curves.end()) at = curves.insert(curves.end(), {point.kind, point.mode, ""});
    absl::StrAppendFormat(&at->points, "%g %g %s\n", point.speed.tpm, point.loss(), point.size);
  }
  return curves;
}

std::string Title(const Curve& curve) {
  switch (curve.kind) {
    case Kind::kVanilla:
      return "flat Transformer";
    case Kind::kBlock:
      return "Block Transformer";
    default:
      return absl::StrCat("PHOTON, ", Name(curve.mode));
  }
}

std::string Style(const Curve& curve) {
  const char* color = curve.kind == Kind::kVanilla                  ? "#555555"
                      : curve.kind == Kind::kBlock                  ? "#7aa6d8"
                      : curve.mode == GenerationMode::kHier         ? "#c0392b"
                      : curve.mode == GenerationMode::kHierParallel ? "#e08e45"
                                                                    : "#8e6bb0";
  return absl::StrCat("lw 2 pt 7 ps 1.2 lc rgb '", color, "'");
}

}  // namespace

absl::Status Draw(const Results& results, const std::string& folder) {
  const std::vector<Curve> curves = CurvesOf(results.points);
  if (curves.empty()) return absl::FailedPreconditionError("no points to draw");
  std::string data, plots;
  for (size_t i = 0; i < curves.size(); ++i) {
    absl::StrAppend(&data, "$c", i, " << E\n", curves[i].points, "E\n");
    // The points of hier-parallel lie close to those of hier.
    const bool below = curves[i].mode == GenerationMode::kHierParallel;
    absl::StrAppend(&plots, i == 0 ? "plot " : ", ", "$c", i, " using 1:2 with linespoints ", Style(curves[i]),
                    " title '", Title(curves[i]), "', $c", i, " using 1:2:3 with labels offset char 0,",
                    below ? "-0.9" : "0.8", " font ',9' tc rgb '#333333' notitle");
  }
  const std::string commands = absl::StrCat(
      "set terminal pngcairo size 900,600 font 'sans,11'\nset output 'study.png'\n",
      "set title 'Equal training FLOPs at each size; further right and further down is better'\n",
      "set logscale x\nset format x '10^{%T}'\nset grid\nset offsets graph 0.06, graph 0.06, graph 0.08, graph 0.05\n",
      "set xlabel 'TPM: thousands of tokens a second and GiB of a sequence'\n",
      "set ylabel 'validation loss, nats per token'\nset key right top\n", data, plots, "\n");
  return DrawByGnuplot(folder, "study", commands);
}

}  // namespace photon::study
