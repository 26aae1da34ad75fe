#include "train/background_save.h"

#include <sys/resource.h>
#include <unistd.h>

#include <utility>

namespace photon {
namespace {

// Of the two dozen levels between an ordinary thread and an idle one. Beside busy threads this one gets some 3 % of a
// core; on an idle core, all of it.
constexpr int kNiceness = 15;

}  // namespace

absl::Status BackgroundSave::Begin(const std::string& dir, CheckpointContents contents, bool urgent) {
  PHOTON_CHECK(save_ == nullptr) << "a save is under way";
  PHOTON_ASSIGN_OR_RETURN(save_, CheckpointSave::Begin(world_, dir, std::move(contents), files_));
  committing_ = false;
  urgent_ = urgent;
  Start([this] { save_->WriteShare(); });
  return absl::OkStatus();
}

std::optional<absl::Status> BackgroundSave::Advance() {
  Join();
  if (committing_) {
    const absl::Status ended = save_->End();
    save_ = nullptr;
    return ended;
  }
  if (const absl::Status collected = save_->Collect(); !collected.ok()) {
    save_ = nullptr;
    return collected;
  }
  committing_ = true;
  if (world_.rank() == 0) {
    Start([this] {
      save_->Commit();
      if (save_->status().ok()) committed_(*save_);
    });
  }
  return std::nullopt;
}

absl::Status BackgroundSave::Finish() {
  Hurry();
  std::optional<absl::Status> ended;
  while (!ended.has_value()) ended = Advance();
  return *ended;
}

void BackgroundSave::Start(std::function<void()> work) {
  working_ = true;
  thread_ = std::thread([this, yields = !urgent_, work = std::move(work)] {
    // Of this thread alone: Linux keeps niceness by thread. A hint; where it is refused, the save is as urgent as all.
    if (yields && setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kNiceness) == 0) thread_id_ = gettid();
    work();
    thread_id_ = 0;
    working_ = false;
  });
}

// Ranks that wait for this one may keep its core busy doing so. Only privileged processes may take niceness back.
void BackgroundSave::Hurry() {
  urgent_ = true;
  if (const pid_t id = thread_id_; id != 0) (void)setpriority(PRIO_PROCESS, static_cast<id_t>(id), 0);
}

void BackgroundSave::Join() {
  if (thread_.joinable()) thread_.join();
}

}  // namespace photon
