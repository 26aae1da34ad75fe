#include "plan/communication.h"

#include <algorithm>
#include <set>

#include "configs/layout.h"
#include "configs/model_config.h"
#include "core/dtype.h"
#include "model/chain.h"
#include "model/pipeline_plan.h"
#include "parallel/traffic.h"

namespace photon {
namespace {

constexpr AxisSet kTp = {MeshAxis::kTp};
constexpr int64_t kMaster = 4;  // bytes of an element between modules: f32

class ModelTraffic {
 public:
  ModelTraffic(const RunConfig& config, const MeshCoordinates& at)
      : config_(config),
        model_(config.model()),
        items_(ItemsOf(config.model())),
        cp_(at.size_of(MeshAxis::kCp)),
        tp_(at.size_of(MeshAxis::kTp)),
        cp_rank_(at.index_of(MeshAxis::kCp)),
        tp_rank_(at.index_of(MeshAxis::kTp)),
        levels_(model_.levels_size()),
        sequences_(config.training().micro_batch_sequences()),
        compute_(config.training().dtype() == "bf16" ? 2 : 4),
        splits_vocabulary_(tp_ > 1 && config.parallel().vocabulary() == ParallelConfig::SPLIT) {}

  // Items [begin, end) of the chain (model/chain.h), run as one: of one microbatch, forward and backward.
  BytesByAxes Sum(int begin, int end) {
    bytes_.clear();
    for (int i = begin; i < end; ++i) {
      switch (items_[i].kind) {
        case ModelItem::Kind::kEncoder:
          EncoderItem(items_[i]);
          break;
        case ModelItem::Kind::kDecoder:
          DecoderItem(i, begin);
          break;
        case ModelItem::Kind::kHead:
          Head();
          break;
      }
    }
    std::erase_if(bytes_, [](const auto& entry) { return entry.second == 0; });
    return bytes_;
  }

  // Of the stream at the end of an item, as one stage of a pipeline hands it to another: rows that a rank has, in f32.
  int64_t StreamBytes(const ModelItem& item) const {
    const auto rows = [&]() -> int64_t {
      const int l = item.level;
      if (item.kind == ModelItem::Kind::kEncoder && !item.last) {
        const bool tensor = tp_ > 1 && Encoder(l) == EncoderLayout::TENSOR;
        return (Everywhere(l) ? Rows(l) * cp_ : Rows(l)) / (tensor || SplitEncoder(l) ? tp_ : 1);
      }
      // The top encoder's is shifted already, and in its decoder's share.
      if (item.kind == ModelItem::Kind::kEncoder) {
        const bool split = levels_ > 0 && l == levels_ ? SplitDecoder(l) : SplitEncoder(l);
        return Rows(l) / (split ? tp_ : 1);
      }
      if (!item.last) {
        const LevelConfig& level = model_.levels(l - 1);
        const bool whole = tp_ == 1 || Decoder(l) == DecoderLayout::REPLICATED;
        return Rows(l) * (level.prefix() + level.chunk() - 1) / (whole ? 1 : tp_);
      }
      return Rows(l - 1) / (SplitDecoder(std::max(l - 1, 1)) ? tp_ : 1);
    };
    return rows() * model_.width() * kMaster;
  }

  const std::vector<ModelItem>& items() const { return items_; }

 private:
  EncoderLayout::Kind Encoder(int l) const { return LayoutOfLevel(config_.parallel(), l).encoder(); }
  DecoderLayout::Kind Decoder(int l) const { return LayoutOfLevel(config_.parallel(), l).decoder(); }
  // Whether a stream is split by rows over tp; else every tp rank has all rows of its span.
  bool SplitEncoder(int l) const { return tp_ > 1 && Encoder(l) == EncoderLayout::SEQUENCE; }
  bool SplitDecoder(int l) const { return tp_ > 1 && Decoder(l) == DecoderLayout::CHUNK; }
  bool Grouped(int l) const { return model_.encoder_scope() == ModelConfig::GROUP && l < levels_; }
  bool Everywhere(int l) const {
    return cp_ > 1 && !Grouped(l) && LayoutOfLevel(config_.parallel(), l).spans() == SpanLayout::REPLICATED;
  }
  // Rows of level l's stream (0: tokens) in the span of a cp rank, of all sequences.
  int64_t Rows(int l) const {
    return sequences_ * config_.data().sequence_length() / (cp_ * (levels_ == 0 ? 1 : ChunkProduct(model_, l)));
  }

  void Add(AxisSet axes, int64_t bytes) { bytes_[axes] += bytes; }
  // All-gather or reduce-scatter among tp ranks of `rows` rows in all.
  void Share(int64_t rows, int64_t width, int64_t element, int64_t times = 1) {
    if (tp_ > 1) Add(kTp, times * AllGatherSent(rows / tp_ * width * element, static_cast<int>(tp_)));
  }
  void AllReduce(int64_t elements) {
    Add(kTp, AllReduceSent(elements, kMaster, static_cast<int>(tp_), static_cast<int>(tp_rank_)));
  }

  // A stack whose heads and features are split: before attention and before the feed-forward its rows are gathered,
  // after them sums are scattered, and the same backward, in the compute type. The stream outside has all rows on all
  // ranks: it is gathered at the end and, as a gradient, at the beginning.
  void TensorStack(const ModelItem& item, int64_t rows, bool recomputed) {
    const int64_t forward = recomputed ? 2 : 1;
    Share(rows, model_.width(), compute_, (item.end - item.begin) * 4 * (forward + 1));
    Share(rows, model_.width(), kMaster, item.first + item.last);
  }

  // From one share to the other: an all-gather, forward where rows come together, else backward if there is one.
  void Convert(bool from_split, bool to_split, int64_t rows, int64_t width, bool differentiated = true) {
    if (from_split != to_split && (from_split || differentiated)) Share(rows, width, kMaster);
  }

  // Keys and values of the spans before, of `layers` layers.
  void Attention(int l, int64_t layers) {
    const bool split = SplitEncoder(l);
    const int64_t ranks = split ? cp_ * tp_ : cp_, rank = split ? cp_rank_ * tp_ + tp_rank_ : cp_rank_;
    if (ranks == 1 || Grouped(l) || Everywhere(l)) return;
    const int64_t heads = tp_ > 1 && Encoder(l) == EncoderLayout::TENSOR ? KvHeads(model_) / tp_ : KvHeads(model_);
    const int64_t rows = split ? Rows(l) / tp_ : Rows(l);
    const int64_t block = rows * 2 * heads * HeadDim(model_) * compute_;
    const int64_t forward = config_.training().recompute() ? 2 : 1;
    const AxisSet axes = SpanAxes(split);
    if (LayoutOfLevel(config_.parallel(), l).spans() == SpanLayout::PASS_ON) {
      // Forward: to the next rank, the blocks of all spans up to the own. Backward: to the one before, gradients of all
      // spans before the own.
      Add(axes, layers * block * ((rank < ranks - 1 ? forward * (rank + 1) : 0) + rank));
    } else {
      Add(axes, layers * (forward + 1) * AllGatherSent(block, static_cast<int>(ranks)));
    }
  }
  AxisSet SpanAxes(bool split) const {
    AxisSet axes;
    if (cp_ > 1) axes = axes | AxisSet{MeshAxis::kCp};
    if (split && tp_ > 1) axes = axes | kTp;
    return axes;
  }

  // What decoder l reads from above: the stream of the encoder (at the top) or of the decoder above, one vector a
  // sequence to the next span where it is shifted, and a gradient back.
  void Shift(int l) {
    const bool split = l == levels_ ? SplitEncoder(l) : SplitDecoder(l + 1);
    const int64_t ranks = split ? cp_ * tp_ : cp_, rank = split ? cp_rank_ * tp_ + tp_rank_ : cp_rank_;
    const bool shifts = l == levels_ || model_.shift() == ModelConfig::ALL;
    const bool all_here = l == levels_ && Everywhere(l);
    if (shifts && !all_here && ranks > 1) {
      const int64_t neighbours = (rank < ranks - 1 ? 1 : 0) + (rank > 0 ? 1 : 0);
      Add(SpanAxes(split), neighbours * sequences_ * model_.width() * kMaster);
    }
    Convert(split, SplitDecoder(l), Rows(l), model_.width());
  }

  void EncoderItem(const ModelItem& item) {
    const int l = item.level;
    const bool recomputed = config_.training().recompute();
    if (item.first && l == 1) {
      Embedding(SplitEncoder(1), levels_ == 0 ? model_.width() : model_.width() / model_.levels(0).chunk());
    }
    if (item.first && levels_ > 0) Convert(SplitEncoder(std::max(l - 1, 1)), SplitEncoder(l), Rows(l), model_.width());
    // Its inputs are gathered, and their gradients scattered.
    if (item.first && Everywhere(l)) {
      Add({MeshAxis::kCp}, 2 * AllGatherSent(Rows(l) * model_.width() * kMaster, static_cast<int>(cp_)));
    }
    const int64_t rows = Everywhere(l) ? Rows(l) * cp_ : Rows(l);
    if (tp_ > 1 && Encoder(l) == EncoderLayout::TENSOR) TensorStack(item, rows, recomputed);
    Attention(l, item.end - item.begin);
    if (item.last && l == levels_) Shift(l);
  }

  // Item i, in a piece of the model that begins with item `begin`.
  void DecoderItem(int i, int begin) {
    const ModelItem& item = items_[i];
    const int l = item.level;
    const LevelConfig& level = model_.levels(l - 1);
    const bool own = l > 1 && model_.contents() == ModelConfig::RECONSTRUCTED;
    if (item.first && l == 1) Embedding(SplitDecoder(1), model_.width());
    // What windows hold besides their prefix, and L_rec aims at: brought into the decoder's share once in a piece.
    const bool here_before = !own && !item.first && FirstOf(item) >= begin;
    const bool target = item.last && !here_before;
    if (l > 1 && ((item.first && !own) || target)) {
      const ObjectiveConfig& objective = config_.training().objective();
      const bool encoder_here = LastOfEncoder(l - 1) >= begin;
      const bool differentiated =
          (item.first && !own) || encoder_here || (objective.alpha() != 0 && !objective.stop_gradient());
      Convert(SplitEncoder(l - 1), SplitDecoder(l), Rows(l - 1), model_.width(), differentiated);
    }
    if (tp_ > 1 && Decoder(l) == DecoderLayout::TENSOR) {
      for (int64_t j = own ? 0 : level.chunk() - 1; j < level.chunk(); ++j) {
        TensorStack(item, Rows(l) * (level.prefix() + j), false);
      }
    }
    if (item.last && l > 1) Shift(l - 1);
  }
  int FirstOf(const ModelItem& item) const {
    const auto same = [&](const ModelItem& other) {
      return other.kind == item.kind && other.level == item.level && other.first;
    };
    return static_cast<int>(std::find_if(items_.begin(), items_.end(), same) - items_.begin());
  }
  int LastOfEncoder(int l) const {
    const auto same = [&](const ModelItem& other) {
      return other.kind == ModelItem::Kind::kEncoder && other.level == l && other.last;
    };
    return static_cast<int>(std::find_if(items_.begin(), items_.end(), same) - items_.begin());
  }

  // Each tp rank has a part of the table's rows, and zeros for the others' tokens: sums, scattered where the stream is
  // split (and gathered backward).
  void Embedding(bool split, int64_t width) {
    if (!splits_vocabulary_) return;
    const int64_t rows = sequences_ * config_.data().sequence_length() / cp_;
    if (split) return Share(rows, width, kMaster, 2);
    AllReduce(rows * width);
  }

  // Every tp rank scores all rows of the span against its part of the vocabulary, and three numbers of each row tell
  // the others what it found.
  void Head() {
    if (!splits_vocabulary_) return;
    const int64_t rows = sequences_ * config_.data().sequence_length() / cp_;
    const bool split = levels_ == 0 ? SplitEncoder(1) : SplitDecoder(1);
    Add(kTp, AllGatherSent(rows * 3 * kMaster, static_cast<int>(tp_)));
    if (split) return Share(rows, model_.width(), compute_, 2);
    AllReduce(rows * model_.width());
  }

  const RunConfig& config_;
  const ModelConfig& model_;
  const std::vector<ModelItem> items_;
  const int64_t cp_, tp_, cp_rank_, tp_rank_;
  const int levels_;
  const int64_t sequences_, compute_;
  const bool splits_vocabulary_;
  BytesByAxes bytes_;
};

}  // namespace

BytesByAxes ModelBytes(const RunConfig& config, const MeshCoordinates& at) {
  ModelTraffic traffic(config, at);
  return traffic.Sum(0, static_cast<int>(traffic.items().size()));
}

// Every rank runs its segments, and hands on what others read: a stream to each other rank that has readers, and its
// gradient back from each that differentiates it.
absl::StatusOr<BytesByAxes> PipelineBytes(const RunConfig& config, const MeshCoordinates& at) {
  PHOTON_ASSIGN_OR_RETURN(const PipelinePlan plan, PlanPipeline(config));
  ModelTraffic traffic(config, at);
  BytesByAxes bytes;
  const int rank = at.index_of(MeshAxis::kPp), microbatches = plan.schedule.microbatches;
  for (const int s : plan.layout.SegmentsOf(rank)) {
    const pipeline::Segment& segment = plan.layout.segments()[s];
    int64_t times = 0;
    for (int m = 0; m < microbatches; ++m) times += plan.layout.RankOf(s, m) == rank;
    for (const auto& [axes, each] : traffic.Sum(segment.begin, segment.end)) bytes[axes] += times * each;
  }
  for (int e = 0; e < static_cast<int>(plan.layout.edges().size()); ++e) {
    const pipeline::Edge& edge = plan.layout.edges()[e];
    const int64_t stream = traffic.StreamBytes(traffic.items()[edge.item]);
    for (int m = 0; m < microbatches; ++m) {
      if (plan.layout.RankOf(edge.from, m) == rank) {
        bytes[{MeshAxis::kPp}] += stream * static_cast<int64_t>(plan.layout.OtherReaders(e, m, false).size());
      } else {
        const std::vector<int> back = plan.layout.OtherReaders(e, m, true);
        bytes[{MeshAxis::kPp}] += stream * std::count(back.begin(), back.end(), rank);
      }
    }
  }
  return bytes;
}

// Without shards, one sum of each class's gradients over the axes that it is summed over. With shards, of every bucket
// each rank gets the sums of its part (ZeRO-2: in every microbatch), and after the update all parts of what is computed
// with: copies, or masters. Besides: counts of tokens and units, loss sums, the gradient's norm where no rank has all,
// and a digest of the order of buckets that go beside the backward pass.
absl::StatusOr<BytesByAxes> StepBytes(const RunConfig& config, const MeshCoordinates& at,
                                      const ParameterSet& parameters) {
  constexpr int64_t kCount = 8;  // bytes of an i64 or f64
  const int64_t microbatches =
      config.training().batch_sequences() / config.parallel().dp() / config.training().micro_batch_sequences();
  BytesByAxes bytes;
  if (config.parallel().pp() > 1) {
    PHOTON_ASSIGN_OR_RETURN(bytes, PipelineBytes(config, at));
  } else {
    for (const auto& [axes, each] : ModelBytes(config, at)) bytes[axes] += microbatches * each;
  }
  const auto all_reduce = [&](AxisSet axes, int64_t elements, int64_t element) {
    bytes[at.Proper(axes)] += AllReduceSent(elements, element, at.group_size(axes), at.group_rank(axes));
  };
  constexpr AxisSet kAll = {MeshAxis::kDp, MeshAxis::kPp, MeshAxis::kCp, MeshAxis::kTp};
  const int levels = config.model().levels_size();
  all_reduce({MeshAxis::kDp}, 2 + levels, kCount);
  all_reduce(kAll, 1 + levels, kCount);
  all_reduce(parameters.sharded() ? kAll : AxisSet{MeshAxis::kPp, MeshAxis::kTp}, 1, kCount);

  const FlatLayout& layout = parameters.layout();
  const auto master = static_cast<int64_t>(ByteSize(parameters.options().master));
  const bool overlapped = config.parallel().overlap_reduction();
  for (const FlatClass& c : layout.classes) {
    if (!parameters.sharded() && !overlapped) all_reduce(c.summed, c.end - c.begin, master);
  }
  std::set<AxisSet> ordered;
  for (size_t b = 0; b < layout.buckets.size(); ++b) {
    const AxisSet axes = layout.classes[layout.buckets[b].in_class].summed;
    if (overlapped && ordered.insert(at.Proper(axes)).second) all_reduce(axes, 2, kCount);
    if (!parameters.sharded()) {
      if (overlapped) all_reduce(axes, layout.buckets[b].end - layout.buckets[b].begin, master);
      continue;
    }
    const int64_t own = layout.buckets[b].own_end - layout.buckets[b].own_begin;
    const auto computed = static_cast<int64_t>(parameters.OwnComputed(static_cast<int>(b)).bytes());
    const int64_t times = parameters.options().sharding == Sharding::kGradients ? microbatches : 1;
    bytes[at.Proper(axes)] +=
        times * ReduceScatterSent(own * master, at.group_size(axes)) + AllGatherSent(computed, at.group_size(axes));
  }
  std::erase_if(bytes, [](const auto& entry) { return entry.second == 0; });
  return bytes;
}

}  // namespace photon
