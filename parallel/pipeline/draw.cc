#include "parallel/pipeline/draw.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"

namespace photon::pipeline {
namespace {

constexpr int kLeft = 20, kTop = 76, kBox = 26, kRow = 58, kFoot = 40;

struct Colour {
  const char* name;
  const char* up;    // pale
  const char* down;  // full
};
// Told apart by those who see no red or green as well: the palette of Okabe and Ito.
constexpr Colour kColours[] = {
    {"forward", "#b3d7ee", "#0072b2"}, {"backward", "#f8dca3", "#e69f00"}, {"weight gradients", "#a5dfcf", "#009e73"}};

// The way up: before the turn of a folded pipeline, or before the decoders.
bool GoesUp(const Layout& layout, int segment) {
  return layout.form() != Form::kPlain &&
         segment < (layout.form() == Form::kFolded ? layout.ranks() - 1 : layout.ranks());
}

std::string Escape(absl::string_view text) {
  return absl::StrReplaceAll(text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}});
}

std::string Text(double x, double y, int size, absl::string_view text, absl::string_view more = "") {
  return absl::StrFormat("<text x=\"%.1f\" y=\"%.1f\" font-size=\"%d\"%s>%s</text>\n", x, y, size,
                         more.empty() ? "" : absl::StrCat(" ", more), Escape(text));
}

int Microbatches(const Timeline& timeline) {
  std::set<int> seen;
  for (const auto& spans : timeline.ranks) {
    for (const Span& span : spans) seen.insert(span.instruction.microbatch);
  }
  return static_cast<int>(seen.size());
}

std::string Summary(const Layout& layout, const Timeline& timeline, const DrawOptions& options) {
  return absl::StrFormat("%s, %d ranks, %d microbatches: %.4g%s%s, efficiency %.1f %%", Name(layout.form()),
                         layout.ranks(), Microbatches(timeline), timeline.time, options.unit.empty() ? "" : " ",
                         options.unit, 100 * timeline.efficiency());
}

std::string Legend(double y) {
  std::string svg;
  double x = kLeft;
  for (const Colour& colour : kColours) {
    for (const auto& [fill, where] : {std::pair(colour.up, " up"), std::pair(colour.down, " down")}) {
      absl::StrAppendFormat(&svg, "<rect x=\"%.1f\" y=\"%.1f\" width=\"14\" height=\"12\" fill=\"%s\"/>\n", x, y - 10,
                            fill);
      const std::string label = absl::StrCat(colour.name, where);
      svg += Text(x + 19, y, 12, label);
      x += 36 + 6.5 * static_cast<double>(label.size());
    }
  }
  absl::StrAppendFormat(&svg, "<path d=\"M%.1f %.1fh18\" stroke=\"#999\"/>\n", x, y - 4);
  return svg + Text(x + 24, y, 12, "waits for a message");
}

// Ticks at 1, 2 or 5 times a power of ten.
std::string Axis(const Timeline& timeline, double scale, double y, const std::string& unit) {
  std::string svg;
  if (timeline.time <= 0) return svg;
  double step = std::pow(10, std::floor(std::log10(timeline.time / 5)));
  for (const double factor : {2.0, 2.5, 2.0}) {
    if (timeline.time / step > 12) step *= factor;
  }
  for (double t = 0; t <= timeline.time * (1 + 1e-9); t += step) {
    const double x = kLeft + t * scale;
    absl::StrAppendFormat(&svg, "<path d=\"M%.1f %.1fv6\" stroke=\"#666\"/>\n", x, y);
    svg += Text(x, y + 20, 11, absl::StrFormat("%g%s", t, unit.empty() ? "" : " " + unit),
                t == 0 ? "fill=\"#444\"" : "fill=\"#444\" text-anchor=\"middle\"");
  }
  return svg;
}

std::string Box(const Layout& layout, const Span& span, double scale, double y) {
  const double x = kLeft + span.begin * scale, width = (span.end - span.begin) * scale;
  const Instruction& i = span.instruction;
  const std::string title = absl::StrFormat("%s, %.4g to %.4g%s", Describe(layout, i), span.begin, span.end,
                                            i.computes() ? ": " + layout.segments()[i.segment].label : "");
  if (!i.computes()) {
    return absl::StrFormat("<path d=\"M%.2f %.1fh%.2f\" stroke=\"#999\"><title>%s</title></path>\n", x, y + kBox / 2.0,
                           width, Escape(title));
  }
  const bool up = GoesUp(layout, i.segment);
  const Colour& colour = kColours[static_cast<int>(i.task)];
  std::string svg = absl::StrFormat(
      "<rect x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" height=\"%d\" fill=\"%s\" stroke=\"#fff\" stroke-width=\"%.2f\">"
      "<title>%s</title></rect>\n",
      x, y, width, kBox, up ? colour.up : colour.down, std::min(0.8, width / 6), Escape(title));
  const std::string number = absl::StrCat(i.microbatch);
  if (width >= 7.0 * static_cast<double>(number.size()) + 2) {
    svg += Text(x + width / 2, y + kBox / 2.0 + 4, 11, number,
                up ? "text-anchor=\"middle\"" : "text-anchor=\"middle\" fill=\"#fff\"");
  }
  return svg;
}

}  // namespace

std::string DrawSvg(const Layout& layout, const Timeline& timeline, const DrawOptions& options) {
  const double scale = timeline.time > 0 ? (options.width - 2 * kLeft) / timeline.time : 0;
  const int height = kTop + kRow * layout.ranks() + kFoot;
  std::string svg = absl::StrFormat(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" "
      "font-family=\"sans-serif\" fill=\"#111\">\n<rect width=\"%d\" height=\"%d\" fill=\"#fff\"/>\n",
      options.width, height, options.width, height, options.width, height);
  const std::string summary = Summary(layout, timeline, options);
  svg += Text(kLeft, 26, 16, options.title.empty() ? summary : absl::StrCat(options.title, ": ", summary));
  svg += Legend(50);
  for (int rank = 0; rank < layout.ranks(); ++rank) {
    std::vector<std::string> labels;
    for (const int s : layout.SegmentsOf(rank)) labels.push_back(layout.segments()[s].label);
    const double y = kTop + kRow * rank + 17;
    svg += Text(kLeft, y - 5, 12, absl::StrCat("rank ", rank, ":  ", absl::StrJoin(labels, "  |  ")));
    absl::StrAppendFormat(&svg, "<rect x=\"%d\" y=\"%.1f\" width=\"%.1f\" height=\"%d\" fill=\"#f4f4f4\"/>\n", kLeft, y,
                          timeline.time * scale, kBox);
    for (const Span& span : timeline.ranks[rank]) svg += Box(layout, span, scale, y);
  }
  svg += Axis(timeline, scale, kTop + kRow * layout.ranks(), options.unit);
  return svg + "</svg>\n";
}

std::string DrawText(const Layout& layout, const Timeline& timeline, int columns) {
  std::string text;
  for (int rank = 0; rank < layout.ranks(); ++rank) {
    std::string line(columns, '.');
    std::vector<double> covered(columns, 0);  // by what is shown: the longest in a column wins
    for (const Span& span : timeline.ranks[rank]) {
      const Instruction& i = span.instruction;
      if (!i.computes() || timeline.time <= 0) continue;
      const bool up = GoesUp(layout, i.segment);
      const char digit = static_cast<char>('0' + i.microbatch % 10);
      const char mark = i.task == Task::kForward    ? (up ? 'f' : digit)
                        : i.task == Task::kBackward ? (up ? 'b' : 'B')
                                                    : (up ? 'w' : 'W');
      const double begin = span.begin / timeline.time * columns, end = span.end / timeline.time * columns;
      for (int c = static_cast<int>(begin); c < columns && c < end; ++c) {
        const double share = std::min(end, c + 1.0) - std::max(begin, static_cast<double>(c));
        if (share <= covered[c] || share < 0.05) continue;
        covered[c] = share;
        line[c] = mark;
      }
    }
    absl::StrAppendFormat(&text, "%3d %s\n", rank, line);
  }
  return text + Summary(layout, timeline, {}) + "\n";
}

}  // namespace photon::pipeline
