#include "parallel/pipeline/layout.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace photon::pipeline {
namespace {

// "E1 1-3, E2 1-6": runs of one group, counted within it.
std::string LabelOf(const Chain& chain, int begin, int end) {
  std::vector<std::string> parts;
  for (int i = begin; i < end;) {
    const std::string& group = chain.items[i].group;
    int first = i, last = i;  // of the whole group
    while (first > 0 && chain.items[first - 1].group == group) --first;
    while (last < static_cast<int>(chain.items.size()) && chain.items[last].group == group) ++last;
    const int stop = std::min(end, last);
    if (last - first == 1) {
      parts.push_back(group);
    } else if (stop - i == 1) {
      parts.push_back(absl::StrCat(group, " ", i - first + 1));
    } else {
      parts.push_back(absl::StrCat(group, " ", i - first + 1, "-", stop - first));
    }
    i = stop;
  }
  return absl::StrJoin(parts, ", ");
}

Segment SegmentOf(const Chain& chain, int begin, int end) {
  Segment segment = {.begin = begin, .end = end, .label = LabelOf(chain, begin, end)};
  for (int i = begin; i < end; ++i) {
    const Item& item = chain.items[i];
    segment.forward += item.forward;
    segment.backward += item.backward;
    segment.weights += item.weights;
    segment.parameter_bytes += item.parameter_bytes;
    segment.activation_bytes += item.activation_bytes;
  }
  return segment;
}

absl::Status CheckBorders(const Chain& chain, Form form, int ranks, const std::vector<int>& borders) {
  const int items = static_cast<int>(chain.items.size());
  const auto refuse = [&](absl::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat("the pipeline's cut at ", absl::StrJoin(borders, ", "), " of ",
                                                   items, " items, ", Name(form), " on ", ranks, " rank(s): ", why));
  };
  if (ranks < 1) return refuse("there must be a rank");
  if (static_cast<int>(borders.size()) != SegmentCount(form, ranks) + 1) {
    return refuse(absl::StrCat("it takes ", SegmentCount(form, ranks) + 1, " borders"));
  }
  if (borders.front() != 0 || borders.back() != items) return refuse("it must go from the first item to the last");
  for (size_t s = 0; s + 1 < borders.size(); ++s) {
    if (borders[s] >= borders[s + 1]) return refuse(absl::StrCat("segment ", s, " is empty"));
  }
  if (form == Form::kEncoders && borders[ranks] != chain.encoders) {
    return refuse(absl::StrCat("the decoders begin at item ", chain.encoders));
  }
  for (const Skip& skip : chain.skips) {
    for (const Use& use : skip.uses) {
      if (skip.from < 0 || use.item <= skip.from || use.item >= items) {
        return refuse(absl::StrCat("item ", use.item, " can't read the stream of item ", skip.from));
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

Form FormOf(PipelineConfig::Form form) { return form == PipelineConfig::ENCODERS ? Form::kEncoders : Form::kFolded; }

const char* Name(Form form) {
  switch (form) {
    case Form::kPlain:
      return "PLAIN";
    case Form::kFolded:
      return "FOLDED";
    default:
      return "ENCODERS";
  }
}

int SegmentCount(Form form, int ranks) {
  switch (form) {
    case Form::kPlain:
      return ranks;
    case Form::kFolded:
      return 2 * ranks - 1;
    default:
      return ranks + 1;
  }
}

absl::StatusOr<Layout> Layout::Create(const Chain& chain, Form form, int ranks, const std::vector<int>& borders) {
  PHOTON_RETURN_IF_ERROR(CheckBorders(chain, form, ranks, borders));
  Layout layout;
  layout.form_ = form;
  layout.ranks_ = ranks;
  const int count = SegmentCount(form, ranks);
  for (int s = 0; s < count; ++s) layout.segments_.push_back(SegmentOf(chain, borders[s], borders[s + 1]));
  const auto segment_of = [&](int item) {
    return static_cast<int>(std::upper_bound(borders.begin(), borders.end(), item) - borders.begin()) - 1;
  };
  std::map<int, std::map<int, bool>> readers;  // item -> segment -> differentiated
  for (int s = 0; s + 1 < count; ++s) readers[borders[s + 1] - 1][s + 1] = true;
  for (const Skip& skip : chain.skips) {
    for (const Use& use : skip.uses) {
      const int segment = segment_of(use.item);
      if (segment != segment_of(skip.from)) readers[skip.from][segment] |= use.differentiated;
    }
  }
  layout.incoming_.resize(count);
  layout.outgoing_.resize(count);
  for (const auto& [item, segments] : readers) {
    const int number = static_cast<int>(layout.edges_.size());
    Edge edge = {.name = absl::StrCat("stream after ", chain.items[item].name),
                 .item = item,
                 .from = segment_of(item),
                 .bytes = chain.items[item].stream_bytes};
    layout.outgoing_[edge.from].push_back(number);
    for (const auto& [segment, differentiated] : segments) {
      edge.readers.push_back({segment, differentiated});
      layout.incoming_[segment].push_back(number);
    }
    layout.edges_.push_back(std::move(edge));
  }
  return layout;
}

int Layout::RankOf(int segment, int microbatch) const {
  if (form_ == Form::kEncoders && segment == ranks_) return microbatch % ranks_;
  return segment < ranks_ ? segment : 2 * ranks_ - 2 - segment;
}

std::vector<int> Layout::SegmentsOf(int rank) const {
  std::vector<int> own = {rank};
  if (form_ == Form::kFolded && rank < ranks_ - 1) own.push_back(2 * ranks_ - 2 - rank);
  if (form_ == Form::kEncoders) own.push_back(ranks_);
  return own;
}

bool Layout::Differentiated(int edge, int segment) const {
  for (const Edge::Reader& reader : edges_[edge].readers) {
    if (reader.segment == segment) return reader.differentiated;
  }
  return false;
}

std::vector<int> Layout::OtherReaders(int edge, int microbatch, bool gradient) const {
  const int producer = RankOf(edges_[edge].from, microbatch);
  std::vector<int> ranks;
  for (const Edge::Reader& reader : edges_[edge].readers) {
    const int rank = RankOf(reader.segment, microbatch);
    if (rank != producer && (reader.differentiated || !gradient)) ranks.push_back(rank);
  }
  std::sort(ranks.begin(), ranks.end());
  ranks.erase(std::unique(ranks.begin(), ranks.end()), ranks.end());
  return ranks;
}

}  // namespace photon::pipeline
