// Rank 1 never joins the collective that rank 0 waits in; rank 0's watchdog must end the job and say so.
#include <thread>
#include <vector>

#include "parallel/watchdog.h"

int main() {
  const auto world = photon::MpiWorld();
  PHOTON_CHECK(world.ok()) << world.status();
  photon::Watchdog watchdog({world->get()}, 1.0);
  if ((*world)->rank() == 0) {
    std::vector<float> values(100);
    (void)(*world)->AllReduce("gradients", photon::Tensor::Wrap(values.data(), {100}, photon::DType::kF32),
                              photon::Reduction::kSum);
  }
  std::this_thread::sleep_for(std::chrono::seconds(50));
  return 0;
}
