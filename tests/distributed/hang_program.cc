// Rank 1 never joins the collective that rank 0 waits in; rank 0's watchdog must end the job and say who is missing.
//   hang_program absent     rank 1 computes
//   hang_program stopped    rank 1 is stopped (SIGSTOP)
//   hang_program other      rank 1 waits in another collective
#include <csignal>
#include <string>
#include <thread>
#include <vector>

#include "parallel/hosts.h"
#include "parallel/job_world.h"
#include "parallel/roll_call.h"
#include "parallel/watchdog.h"

int main(int argc, char** argv) {
  const std::string how = argc > 1 ? argv[1] : "";
  const auto world = photon::JobWorld();
  PHOTON_CHECK(world.ok()) << world.status();
  auto roll_call = photon::RollCallOf(**world, *photon::GatherHosts(**world));
  PHOTON_CHECK(roll_call.ok()) << roll_call.status();
  auto other = (*world)->Split(0, (*world)->rank());
  photon::Watchdog watchdog({other->get(), world->get()}, 2.0, photon::Watchdog::AbortJob, *std::move(roll_call));
  (void)(*world)->Barrier("start");
  std::vector<float> values(100);
  const photon::Tensor tensor = photon::Tensor::Wrap(values.data(), {100}, photon::DType::kF32);
  if ((*world)->rank() == 0) (void)(*world)->AllReduce("gradients", tensor, photon::Reduction::kSum);
  if (how == "stopped") raise(SIGSTOP);
  if (how == "other") (void)(*other)->AllReduce("loss", tensor, photon::Reduction::kSum);
  std::this_thread::sleep_for(std::chrono::seconds(50));
  return 0;
}
