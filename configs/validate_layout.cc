#include "configs/validate_layout.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "configs/checks.h"
#include "configs/model_config.h"

namespace photon {
namespace {

constexpr size_t kSuggested = 3;

int Levels(const ModelConfig& model) { return std::max(model.levels_size(), 1); }

// Units of level l (positions, for the flat model) that a cp rank has of each sequence.
int64_t UnitsOfSpan(const RunConfig& config, const LayoutSizes& sizes, int level) {
  const int64_t tokens = config.model().levels_size() == 0 ? 1 : ChunkProduct(config.model(), level);
  return config.data().sequence_length() / (sizes.cp * tokens);
}

// Of `n`, not above `most` >= 1.
int64_t LargestDivisor(int64_t n, int64_t most) {
  int64_t largest = 1;
  for (int64_t d = 1; d <= n / d; ++d) {
    if (n % d != 0) continue;
    if (d <= most) largest = std::max(largest, d);
    if (n / d <= most) largest = std::max(largest, n / d);
  }
  return largest;
}

absl::Status FitsBatch(const TrainingConfig& training, const LayoutSizes& sizes) {
  const int64_t batch = training.batch_sequences();
  if (batch % sizes.dp != 0) {
    return Refuse("training.batch_sequences", batch,
                  absl::StrCat("can't be shared evenly by ", sizes.dp, " data-parallel ranks (parallel.dp)"),
                  NearestMultiples(batch, sizes.dp));
  }
  const int64_t share = batch / sizes.dp;
  const int64_t micro = training.has_micro_batch_sequences() ? training.micro_batch_sequences() : share;
  if (share % micro != 0) {
    return Refuse("training.micro_batch_sequences", micro,
                  absl::StrCat("does not divide a rank's ", share, " sequences (training.batch_sequences = ", batch,
                               " over parallel.dp = ", sizes.dp, ")"),
                  absl::StrCat("use a divisor of ", share, ", or leave it out for all of them at once"));
  }
  if (share / micro >= sizes.pp) return absl::OkStatus();
  const int64_t largest = LargestDivisor(share, std::max<int64_t>(share / sizes.pp, 1));  // that keeps every stage busy
  return Refuse("training.micro_batch_sequences", micro,
                absl::StrCat("makes ", share / micro, " microbatch(es) of a rank's ", share,
                             " sequences, fewer than the ", sizes.pp, " stages of the pipeline (parallel.pp)"),
                share >= sizes.pp ? absl::StrCat("use ", largest, " or a smaller divisor of ", share)
                                  : absl::StrCat("use a training.batch_sequences of ", int64_t{sizes.pp} * sizes.dp,
                                                 " or more, or a smaller pp"));
}

// Cuts are at meta-context borders: within one, tokens see each other through the level's decoder.
absl::Status FitsSpans(const RunConfig& config, const LayoutSizes& sizes) {
  const int64_t length = config.data().sequence_length(), unit = ChunkProduct(config.model());
  if (length % (sizes.cp * unit) == 0) return absl::OkStatus();
  const std::string units = unit == 1 ? "" : absl::StrCat(" of whole meta-contexts (", unit, " tokens)");
  return Refuse(
      "parallel.cp", sizes.cp, absl::StrCat("can't cut data.sequence_length = ", length, " into equal spans", units),
      absl::StrCat("use a divisor of ", length / unit, ", or a length that is a multiple of ", sizes.cp * unit));
}

// Items of a pipeline's way up and way down; cuts are between them. A decoder that is fed its own outputs runs its
// window position by position, through all its layers each time: it can't be cut.
absl::Status FitsStages(const RunConfig& config, const LayoutSizes& sizes) {
  if (sizes.pp == 1) return absl::OkStatus();
  const ModelConfig& model = config.model();
  const bool folded = config.parallel().pipeline().form() == PipelineConfig::FOLDED;
  if (folded && config.training().objective().level_one_term()) {
    return absl::InvalidArgumentError(
        "training.objective.level_one_term compares with the decoder's embedding, which the pipeline stage of the loss "
        "may not have; use parallel.pipeline.form: ENCODERS, or parallel.pp = 1");
  }
  if (model.levels_size() == 0) {
    if (!folded) {
      return absl::InvalidArgumentError(
          "parallel.pipeline.form = ENCODERS needs a model with levels, and this one is flat; use FOLDED");
    }
    // Every stage but the last has two pieces, and the head is one.
    const int most = model.layers() / 2 + 1;
    if (sizes.pp <= most) return absl::OkStatus();
    return Refuse("parallel.pp", sizes.pp,
                  absl::StrCat("cuts model.layers = ", model.layers(), " and the head into more pieces, ",
                               2 * sizes.pp - 1, ", than there are"),
                  absl::StrCat("use ", most, " or less"));
  }
  int64_t up = 0, down = 0;
  for (int l = 0; l < model.levels_size(); ++l) {
    const bool whole = l > 0 && model.contents() == ModelConfig::RECONSTRUCTED;
    up += model.levels(l).encoder_layers();
    down += whole ? 1 : model.levels(l).decoder_layers();
  }
  const auto refuse = [&](int64_t items, const char* what) {
    return Refuse("parallel.pp", sizes.pp, absl::StrCat("is more stages than the model has ", what, ", ", items),
                  absl::StrCat("use ", items, " or less"));
  };
  if (up < sizes.pp) return refuse(up, "encoder layers");
  if (!folded || down >= sizes.pp) return absl::OkStatus();
  if (model.contents() != ModelConfig::RECONSTRUCTED) return refuse(down, "decoder layers");
  return refuse(down, "pieces of decoders (contents RECONSTRUCTED: above level 1 they can't be cut)");
}

absl::Status Shared(const char* field, int64_t value, int tp, const std::string& by, const char* others) {
  if (value % tp == 0) return absl::OkStatus();
  return Refuse("parallel.tp", tp, absl::StrCat("does not divide ", field, " = ", value, ", which ", by, " splits"),
                absl::StrCat("use a divisor of ", value, ", or have that module ", others));
}

// With n_l = T / (cp C_<=l) units of level l in a span, rows are cut evenly where tp divides n_l. The chunker above
// works on the pieces that a SEQUENCE encoder leaves, and finds whole chunks in a piece of n_l / tp units where C_(l+1)
// divides it; groups of an encoder of scope GROUP are those chunks.
absl::Status FitsLevel(const RunConfig& config, const LayoutSizes& sizes, int level) {
  const ModelConfig& model = config.model();
  const LevelLayout layout = LayoutOfLevel(config.parallel(), level);
  const std::string at = absl::StrCat("parallel.levels.", level - 1, ".");
  const std::string encoder = absl::StrCat(at, "encoder ", EncoderLayout::Kind_Name(layout.encoder()));
  const std::string decoder = absl::StrCat(at, "decoder ", DecoderLayout::Kind_Name(layout.decoder()));
  const bool tensor_encoder = layout.encoder() == EncoderLayout::TENSOR;
  const bool tensor_decoder = layout.decoder() == DecoderLayout::TENSOR && model.levels_size() > 0;
  if (tensor_encoder || tensor_decoder) {
    const std::string& by = tensor_encoder ? encoder : decoder;
    const char* others = tensor_encoder ? "SEQUENCE or REPLICATED" : "CHUNK or REPLICATED";
    if (absl::Status s = Shared("model.heads", model.heads(), sizes.tp, by, others); !s.ok()) return s;
    if (absl::Status s = Shared("model.kv_heads", KvHeads(model), sizes.tp, by, others); !s.ok()) return s;
    if (absl::Status s = Shared("model.ffn", model.ffn(), sizes.tp, by, others); !s.ok()) return s;
  }
  const bool encoder_rows = layout.encoder() != EncoderLayout::REPLICATED;
  const bool decoder_rows = layout.decoder() != DecoderLayout::REPLICATED && model.levels_size() > 0;
  const int64_t units = UnitsOfSpan(config, sizes, level);
  if ((encoder_rows || decoder_rows) && units % sizes.tp != 0) {
    return Refuse("parallel.tp", sizes.tp,
                  absl::StrCat("can't share evenly the ", units, " level-", level,
                               " units that a rank has of a sequence, as ", encoder_rows ? encoder : decoder, " does"),
                  absl::StrCat("use a divisor of ", units, ", a longer data.sequence_length, or REPLICATED there"));
  }
  if (layout.encoder() != EncoderLayout::SEQUENCE) return absl::OkStatus();
  if (sizes.cp > 1 && layout.spans() == SpanLayout::REPLICATED) {
    return Refuse(
        at + "spans", "REPLICATED",
        absl::StrCat("has every cp rank compute all positions, and ", encoder, " has the tp ranks share them"),
        "use encoder: TENSOR there, or spans: GATHER");
  }
  if (level >= model.levels_size()) return absl::OkStatus();
  const int64_t chunk = model.levels(level).chunk();
  if (units / sizes.tp % chunk == 0) return absl::OkStatus();
  return Refuse("parallel.tp", sizes.tp,
                absl::StrCat("cuts the chunks of ", chunk, " units that level ", level + 1, " is made of (", encoder,
                             ", ", units, " units in a rank's span)"),
                absl::StrCat("use a divisor of ", units / chunk, ", or another encoder kind"));
}

absl::Status FitsTensorParallel(const RunConfig& config, const LayoutSizes& sizes) {
  if (sizes.tp == 1) return absl::OkStatus();
  for (int level = 1; level <= Levels(config.model()); ++level) {
    if (absl::Status s = FitsLevel(config, sizes, level); !s.ok()) return s;
  }
  if (config.parallel().vocabulary() != ParallelConfig::SPLIT) return absl::OkStatus();
  const int64_t vocabulary = config.model().vocab_size();
  if (vocabulary % sizes.tp == 0) return absl::OkStatus();
  return Refuse(
      "parallel.tp", sizes.tp,
      absl::StrCat("does not divide model.vocab_size = ", vocabulary, ", which parallel.vocabulary SPLIT cuts"),
      absl::StrCat("use a divisor of ", vocabulary, ", or parallel.vocabulary: REPLICATED"));
}

// Doublings between two layouts.
double Distance(const LayoutSizes& a, const LayoutSizes& b) {
  const auto doublings = [](int x, int y) { return std::abs(std::log2(x) - std::log2(y)); };
  return doublings(a.dp, b.dp) + doublings(a.pp, b.pp) + doublings(a.cp, b.cp) + doublings(a.tp, b.tp);
}

std::vector<int> Divisors(int n) {
  std::vector<int> divisors, cofactors;
  for (int d = 1; d <= n / d; ++d) {
    if (n % d != 0) continue;
    divisors.push_back(d);
    if (d != n / d) cofactors.push_back(n / d);
  }
  divisors.insert(divisors.end(), cofactors.rbegin(), cofactors.rend());
  return divisors;
}

std::string Suggestion(const RunConfig& config, int ranks, const LayoutSizes& wanted) {
  // No axis is longer than what it cuts.
  const ModelConfig& model = config.model();
  int64_t layers = model.layers();
  for (const LevelConfig& level : model.levels()) layers += level.encoder_layers() + level.decoder_layers();
  const double most = static_cast<double>(config.training().batch_sequences()) * config.data().sequence_length() *
                      model.heads() * static_cast<double>(layers);
  for (int n = static_cast<int>(std::min<double>(ranks, most)); n > 0; --n) {
    const std::vector<LayoutSizes> nearest = LayoutsThatFit(config, n, wanted, kSuggested);
    if (nearest.empty()) continue;
    std::string text = n == ranks ? absl::StrCat(". Layouts of ", ranks, " rank(s) that fit:")
                                  : absl::StrCat(". No layout of ", ranks, " ranks fits; of ", n, ":");
    for (const LayoutSizes& sizes : nearest) {
      absl::StrAppend(&text, sizes == nearest.front() ? " " : "; ", sizes.ToString());
    }
    return text;
  }
  return "";
}

}  // namespace

absl::Status FitsLayout(const RunConfig& config, const LayoutSizes& sizes) {
  const int listed = config.parallel().levels_size();
  if (listed > Levels(config.model())) {
    return Refuse("parallel.levels", listed,
                  absl::StrCat("is more levels than the model has, ", Levels(config.model())),
                  "remove the last ones (their numbers count from 0)");
  }
  if (absl::Status s = FitsStages(config, sizes); !s.ok()) return s;
  if (absl::Status s = FitsSpans(config, sizes); !s.ok()) return s;
  if (absl::Status s = FitsBatch(config.training(), sizes); !s.ok()) return s;
  return FitsTensorParallel(config, sizes);
}

std::vector<LayoutSizes> LayoutsThatFit(const RunConfig& config, int ranks, const LayoutSizes& wanted, size_t most) {
  std::vector<LayoutSizes> fitting;
  for (const int pp : Divisors(ranks)) {
    for (const int cp : Divisors(ranks / pp)) {
      for (const int tp : Divisors(ranks / pp / cp)) {
        const LayoutSizes sizes = {.dp = ranks / pp / cp / tp, .pp = pp, .cp = cp, .tp = tp};
        if (FitsLayout(config, sizes).ok()) fitting.push_back(sizes);
      }
    }
  }
  std::stable_sort(fitting.begin(), fitting.end(), [&](const LayoutSizes& a, const LayoutSizes& b) {
    return Distance(a, wanted) < Distance(b, wanted);
  });
  fitting.resize(std::min(fitting.size(), most));
  return fitting;
}

absl::Status CheckOverlapOnGpus(const ParallelConfig& parallel, int ranks) {
  if (!parallel.overlap_reduction() || ranks <= parallel.dp()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "parallel.overlap_reduction: with cp, tp or pp on GPUs, reductions and the exchanges inside the model may wait "
      "for each other; set it to false");
}

absl::Status ValidateLayout(const RunConfig& config, int ranks) {
  const ParallelConfig& parallel = config.parallel();
  const absl::StatusOr<LayoutSizes> sizes = SizesOfLayout(parallel, ranks);
  const absl::Status status = sizes.ok() ? FitsLayout(config, *sizes) : sizes.status();
  if (status.ok()) return status;
  LayoutSizes wanted = {
      .pp = std::max(parallel.pp(), 1), .cp = std::max(parallel.cp(), 1), .tp = std::max(parallel.tp(), 1)};
  wanted.dp = sizes.ok() ? sizes->dp : std::max(parallel.dp(), 1);
  return absl::Status(status.code(), absl::StrCat(status.message(), Suggestion(config, ranks, wanted)));
}

}  // namespace photon
