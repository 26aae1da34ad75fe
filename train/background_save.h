// A save that is written while training goes on.
//
// What is slow, writing this rank's files and (rank 0) committing the checkpoint, runs on a thread that yields its core
// to the computing ones and talks to no other rank; what needs all ranks happens on the training thread, at points that
// all of them reach alike. So MPI is never entered by two threads for a save's sake, no collective waits for a disk
// while there is computing to do, and the watchdog sees nothing unusual. All methods are called by the training thread.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "checkpoint/save.h"
#include "parallel/communicator.h"

namespace photon {

class BackgroundSave {
 public:
  // Rank 0's, on the writing thread, right after the checkpoint is durable.
  using Committed = std::function<void(const CheckpointSave& save)>;

  BackgroundSave(Communicator& world, FileSystem& files, Committed committed)
      : world_(world), files_(files), committed_(std::move(committed)) {}
  // Waits for this rank's thread alone; a save that was under way stays unfinished, hence ignored.
  ~BackgroundSave() { Join(); }
  BackgroundSave(const BackgroundSave&) = delete;
  BackgroundSave& operator=(const BackgroundSave&) = delete;

  // The same on all ranks.
  bool under_way() const { return save_ != nullptr; }
  // Whether this rank's thread is at work.
  bool working() const { return working_; }

  // Collective; none may be under way. The parts' values must stay as they are until it has ended. `urgent`: nobody
  // computes meanwhile. Where it returns an error, the same on all ranks, no save has begun.
  absl::Status Begin(const std::string& dir, CheckpointContents contents, bool urgent);
  // Collective, where no rank is working(): goes on to the next step. What came of the save, once it has ended; the
  // same on all ranks.
  std::optional<absl::Status> Advance();
  // Collective: waits for the end of the save under way.
  absl::Status Finish();

 private:
  void Start(std::function<void()> work);
  void Hurry();
  void Join();

  Communicator& world_;
  FileSystem& files_;
  const Committed committed_;
  std::unique_ptr<CheckpointSave> save_;
  bool committing_ = false;
  std::thread thread_;
  bool urgent_ = false;
  std::atomic<bool> working_ = false;
  std::atomic<pid_t> thread_id_ = 0;  // of a thread that was told to yield; 0: none
};

}  // namespace photon
