// A save cut into its steps, for callers who let the slow ones run behind something else.
//
// Begin, Collect and End are collectives of a few milliseconds; WriteShare and Commit are slow, talk to no other rank,
// and may run on any thread. Each step begins after the one before has ended, on this rank; a step that fails on any
// rank makes the next collective fail on all, which ends the save. WriteCheckpoint (store.h) is all of them in a row.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/datasets.h"
#include "checkpoint/store.h"
#include "core/file_system.h"

namespace photon {

// A rank's files, by name, and what it tells the others about them.
struct ShareOfTensors {
  std::map<std::string, std::vector<NamedPart>> files;
  Manifest description;  // tensors with this rank's shards
};

class CheckpointSave {
 public:
  // Checks that all ranks' parts make up the tensors, and makes the temporary folder. The parts' values must stay as
  // they are until WriteShare has returned; `comm` and `files` must outlive the save.
  static absl::StatusOr<std::unique_ptr<CheckpointSave>> Begin(Communicator& comm, const std::string& dir,
                                                               CheckpointContents contents, FileSystem& files);
  // This rank's files, written and flushed to disk.
  void WriteShare();
  absl::Status Collect();
  // Rank 0's: tokenizer, index, manifest, and the folder's final name.
  void Commit();
  // OK: the checkpoint is on disk under its name.
  absl::Status End();

  const std::string& dir() const { return dir_; }
  const RunState& state() const { return contents_.state; }
  // How the last slow step went on this rank.
  const absl::Status& status() const { return status_; }

 private:
  CheckpointSave(Communicator& comm, std::string dir, CheckpointContents contents, FileSystem& files)
      : comm_(comm), dir_(std::move(dir)), temporary_(dir_ + ".tmp"), contents_(std::move(contents)), files_(files) {}
  bool first() const { return comm_.rank() == 0; }
  absl::Status GiveUp(const absl::Status& status);

  Communicator& comm_;
  const std::string dir_, temporary_;
  const CheckpointContents contents_;
  FileSystem& files_;
  ShareOfTensors share_;
  Manifest manifest_;  // of all ranks
  Manifest written_;   // this rank's files
  absl::Status status_;
};

}  // namespace photon
