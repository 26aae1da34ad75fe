#include "train/background_save.h"

#include <sys/resource.h>
#include <unistd.h>

#include <utility>

namespace photon {
namespace {

// Beside one busy thread this one gets a quarter of a core (Linux's weights: 335 to 1024); on an idle core, all of it.
// Not more, though computing would notice it less (15 leaves 3 %): only privileged processes may take niceness back, so
// a save that a SIGTERM waits for mostly goes on at this level, and on a node that is busy with other jobs too it must
// end within the minute or so that batch systems grant.
constexpr int kNiceness = 5;

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

// Ranks that wait for this one may keep its core busy doing so. Refused to unprivileged processes: see kNiceness.
void BackgroundSave::Hurry() {
  urgent_ = true;
  if (const pid_t id = thread_id_; id != 0) (void)setpriority(PRIO_PROCESS, static_cast<id_t>(id), 0);
}

void BackgroundSave::Join() {
  if (thread_.joinable()) thread_.join();
}

}  // namespace photon
