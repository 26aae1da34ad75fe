// A chain cut into segments, the ranks that run them, and the tensors that go between them.
//
//   PLAIN     segment s on rank s.
//   FOLDED    2 P - 1 segments. Rank r runs segment r, a slice of the way up, and segment 2 P - 2 - r, the matching
//   slice
//             of the way down; the last rank has one segment, the turn. (Two there, up and down, would run one after
//             the other always: as one they need no message, and are one tape.) What a decoder needs of its encoder is
//             on its rank already wherever the cut allows.
//   ENCODERS  segments 0 .. P - 1 cut the encoders over the ranks; segment P, all decoders, the head and the loss, runs
//             whole on rank m mod P for microbatch m.
//
// Plain data and pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "configs/parallel.pb.h"
#include "core/status.h"
#include "parallel/pipeline/chain.h"

namespace photon::pipeline {

enum class Form : uint8_t { kPlain, kFolded, kEncoders };
Form FormOf(PipelineConfig::Form form);
const char* Name(Form form);

struct Segment {
  int begin = 0, end = 0;  // of the chain's items
  std::string label;       // "E1 1-3", "D1 9-12, head"
  double forward = 0, backward = 0, weights = 0;
  int64_t parameter_bytes = 0, activation_bytes = 0;
};

// A value that leaves its segment: the stream at the end of one item, and all segments that read it. One message to
// each other rank that has readers, and, where one of them is differentiated, one message back: the sum of their
// gradients.
struct Edge {
  struct Reader {
    int segment = 0;
    bool differentiated = true;
  };
  std::string name;                  // "stream after E1 3"
  int item = 0;                      // whose stream it is
  int from = 0;                      // segment
  std::vector<Reader> readers = {};  // later segments, ascending
  int64_t bytes = 0;
};

class Layout {
 public:
  // Segment s has the items [borders[s], borders[s + 1]). kInvalidArgument where the borders do not fit form, ranks and
  // chain, or a skip goes backwards.
  static absl::StatusOr<Layout> Create(const Chain& chain, Form form, int ranks, const std::vector<int>& borders);

  Form form() const { return form_; }
  int ranks() const { return ranks_; }
  const std::vector<Segment>& segments() const { return segments_; }
  const std::vector<Edge>& edges() const { return edges_; }
  int count() const { return static_cast<int>(segments_.size()); }

  // The rank that runs `segment` of `microbatch`.
  int RankOf(int segment, int microbatch) const;
  // The segments that `rank` ever runs, in the order of the chain.
  std::vector<int> SegmentsOf(int rank) const;
  // Numbers of the edges that end in a segment, and that start there, ascending: the order of what a Stage takes and
  // returns.
  const std::vector<int>& incoming(int segment) const { return incoming_[segment]; }
  const std::vector<int>& outgoing(int segment) const { return outgoing_[segment]; }
  bool Differentiated(int edge, int segment) const;
  // Ranks other than the producer's that read `edge` of `microbatch`, ascending; `gradient`: that have one to send
  // back.
  std::vector<int> OtherReaders(int edge, int microbatch, bool gradient) const;

 private:
  Form form_ = Form::kPlain;
  int ranks_ = 1;
  std::vector<Segment> segments_;
  std::vector<Edge> edges_;
  std::vector<std::vector<int>> incoming_, outgoing_;
};

// How many segments a form has on that many ranks.
int SegmentCount(Form form, int ranks);

}  // namespace photon::pipeline
