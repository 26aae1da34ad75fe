#include <algorithm>

#include "absl/strings/str_cat.h"
#include "configs/chat_template.h"
#include "configs/checks.h"
#include "configs/config.h"
#include "configs/data_weights.h"
#include "configs/model_config.h"
#include "configs/validate_layout.h"

namespace photon {
namespace {

absl::Status FirstFailure(std::initializer_list<absl::Status> checks) {
  for (const absl::Status& status : checks) {
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status ValidateData(const DataConfig& data, const ModelConfig& model) {
  if (absl::Status s = ValidateSources(data); !s.ok()) return s;
  if (absl::Status s = FirstFailure({AtLeast("data.sequence_length", data.sequence_length(), 1),
                                     InRange("data.valid_fraction", data.valid_fraction(), 0, 1)});
      !s.ok()) {
    return s;
  }
  const int64_t unit = ChunkProduct(model);
  const int64_t length = data.sequence_length();
  if (length % unit != 0) {
    return Refuse("data.sequence_length", length,
                  absl::StrCat("is not a multiple of the ", unit,
                               " tokens of a top-level unit (the product of the levels' chunk)"),
                  NearestMultiples(length, unit));
  }
  const int64_t align = data.has_align() ? data.align() : unit;
  if (absl::Status s = AtLeast("data.align", align, 1); !s.ok()) return s;
  if (data.document_mask() && align % unit != 0) {
    return Refuse("data.align", align,
                  absl::StrCat("is not a multiple of the ", unit,
                               " tokens of a top-level unit, so a chunk would hold two documents"),
                  absl::StrCat("use ", unit, ", or data.document_mask: false for plain packing"));
  }
  if (length % align != 0) {
    return Refuse("data.align", align, absl::StrCat("does not divide data.sequence_length = ", length),
                  absl::StrCat("use ", unit, ", or a divisor of the length"));
  }
  return absl::OkStatus();
}

absl::Status ValidateChat(const DataConfig& data) {
  return data.has_chat_template() ? ValidateChatTemplate(data.chat_template(), "data.chat_template.")
                                  : absl::OkStatus();
}

absl::Status ValidateBatch(const TrainingConfig& training) {
  if (absl::Status s = AtLeast("training.batch_sequences", training.batch_sequences(), 1); !s.ok()) return s;
  if (!training.has_micro_batch_sequences()) return absl::OkStatus();
  return AtLeast("training.micro_batch_sequences", training.micro_batch_sequences(), 1);
}

// Operations count rows of their tables in 32 bits. The largest table of a pass: tokens, or the positions of a level's
// decoder, R + C - 1 for each of its chunks. Products in doubles, which are exact up to far beyond the bound.
absl::Status ValidateRows(const RunConfig& config, int world_size) {
  const int64_t micro = Resolved(config, world_size).training().micro_batch_sequences();
  double per_token = 1;
  for (int level = 1; level <= config.model().levels_size(); ++level) {
    const LevelConfig& l = config.model().levels(level - 1);
    const double per_chunk = static_cast<double>(l.prefix()) + l.chunk() - 1;
    per_token = std::max(per_token, per_chunk / static_cast<double>(ChunkProduct(config.model(), level)));
  }
  const double rows = static_cast<double>(micro) * config.data().sequence_length() * per_token;
  if (rows < 0x1p31) return absl::OkStatus();
  return Refuse("training.micro_batch_sequences", micro,
                absl::StrCat("makes tables of ", rows, " rows, and row indices are 32-bit"),
                "lower training.micro_batch_sequences (or data.sequence_length)");
}

absl::Status ValidateOptimizer(const OptimizerConfig& optimizer) {
  const std::string at = "training.optimizer.";
  if (!(optimizer.final_lr_fraction() <= 1)) {
    return Refuse(at + "final_lr_fraction", optimizer.final_lr_fraction(), "is out of range",
                  "use a number from 0 to 1");
  }
  return FirstFailure({AtLeast(at + "peak_lr", optimizer.peak_lr(), 0),
                       AtLeast(at + "final_lr_fraction", optimizer.final_lr_fraction(), 0),
                       AtLeast(at + "warmup_steps", optimizer.warmup_steps(), 0),
                       InRange(at + "beta1", optimizer.beta1(), 0, 1), InRange(at + "beta2", optimizer.beta2(), 0, 1),
                       Above(at + "eps", optimizer.eps(), 0), AtLeast(at + "weight_decay", optimizer.weight_decay(), 0),
                       AtLeast(at + "clip_norm", optimizer.clip_norm(), 0)});
}

// Early stop judges by validations: without any it would never come.
absl::Status ValidateEarlyStop(const TrainingConfig& training, const DataConfig& data) {
  const std::string field = "training.early_stop.patience";
  const int patience = training.early_stop().patience();
  if (patience <= 0) return AtLeast(field, patience, 0);
  if (training.valid_every() == 0) {
    return Refuse(field, patience, "counts validations, and training.valid_every = 0 has them at the end only",
                  "set training.valid_every to the steps between them, or the patience to 0");
  }
  if (!data.has_valid() && data.valid_fraction() == 0) {
    return Refuse(field, patience, "counts validations, and data.valid_fraction = 0 leaves nothing to validate on",
                  "set data.valid_fraction or data.valid, or the patience to 0");
  }
  return absl::OkStatus();
}

absl::Status ValidateTraining(const TrainingConfig& training) {
  const std::string at = "training.";
  if (training.dtype() != "f32" && training.dtype() != "bf16" && training.dtype() != "f64") {
    return absl::InvalidArgumentError(absl::StrCat("training.dtype = \"", training.dtype(),
                                                   "\" is not a compute type; use \"bf16\" or \"f32\" (or \"f64\", to "
                                                   "compare layouts)"));
  }
  const double spike = training.health().spike_factor();
  if (spike != 0 && !(spike > 1)) {
    return Refuse(at + "health.spike_factor", spike, "would call ordinary steps spikes",
                  "use a number above 1, or 0 for off");
  }
  return FirstFailure(
      {ValidateBatch(training), ValidateOptimizer(training.optimizer()), AtLeast(at + "steps", training.steps(), 1),
       AtLeast(at + "slice_tokens", training.slice_tokens(), 1),
       AtLeast(at + "objective.alpha", training.objective().alpha(), 0),
       AtLeast(at + "health.max_skipped_in_row", training.health().max_skipped_in_row(), 0),
       AtLeast(at + "valid_every", training.valid_every(), 0),
       AtLeast(at + "valid_sequences", training.valid_sequences(), 0),
       AtLeast(at + "early_stop.min_delta", training.early_stop().min_delta(), 0),
       AtLeast(at + "log_every", training.log_every(), 1), AtLeast(at + "profile_steps", training.profile_steps(), 0)});
}

absl::Status ValidateParallel(const ParallelConfig& parallel) {
  constexpr double kLargestBucket = 1e6;  // MB: more than a rank's gradients, and its bytes are an integer
  return FirstFailure({Above("parallel.collective_timeout_s", parallel.collective_timeout_s(), 0),
                       Above("parallel.bucket_mb", parallel.bucket_mb(), 0),
                       AtMost("parallel.bucket_mb", parallel.bucket_mb(), kLargestBucket)});
}

}  // namespace

absl::Status ValidateRun(const RunConfig& config, int world_size) {
  if (config.run_dir().empty())
    return absl::InvalidArgumentError("run_dir is empty: name the folder that the run writes to");
  if (absl::Status s = ValidateModel(config.model()); !s.ok()) return s;
  if (absl::Status s = FirstFailure(
          {ValidateData(config.data(), config.model()), ValidateChat(config.data()),
           ValidateTraining(config.training()), ValidateEarlyStop(config.training(), config.data()),
           ValidateParallel(config.parallel()), AtLeast("checkpoint.every", config.checkpoint().every(), 0),
           AtLeast("checkpoint.keep_last", config.checkpoint().keep_last(), 0)});
      !s.ok()) {
    return s;
  }
  if (absl::Status s = ValidateLayout(config, world_size); !s.ok()) return s;
  return ValidateRows(config, world_size);
}

}  // namespace photon
