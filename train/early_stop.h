// Ends a run whose validation loss has stopped to fall.
#pragma once

#include <cstdint>
#include <string>

#include "configs/checkpoint.pb.h"
#include "configs/training.pb.h"

namespace photon {

// Judges by the validation loss, which is the same on all ranks. Its memory is part of the run's state: a resumed run
// stops where the undisturbed one would.
class EarlyStop {
 public:
  explicit EarlyStop(const EarlyStopConfig& config) : config_(config) {}

  bool on() const { return config_.patience() > 0; }
  // Takes in a validation; true where it is the best so far, by more than min_delta. A loss that is no number is none.
  // The same step twice counts once.
  bool Add(int64_t step, double loss);
  // `patience` validations in a row were no better.
  bool due() const { return on() && since_best_ >= config_.patience(); }
  std::string Message() const;

  void Restore(const RunState& state);
  // Into the state of a checkpoint, which is read only if its save succeeds: where that is of the best step, it is the
  // best one saved.
  void Save(RunState* state) const;
  // The checkpoint of such a state is on disk.
  void Saved(const RunState& state);

 private:
  EarlyStopConfig config_;
  bool any_ = false;
  double best_loss_ = 0;
  int64_t best_step_ = 0, last_step_ = -1;
  int64_t best_saved_step_ = -1;  // a save of best_step_ may have failed, or not have ended yet
  int since_best_ = 0;
};

}  // namespace photon
