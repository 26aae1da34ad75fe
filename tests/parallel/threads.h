// Runs a function on ranks that are threads, for tests.
#pragma once

#include <thread>
#include <vector>

#include "parallel/communicator.h"

namespace photon::testing {

// body(communicator) on `ranks` threads; returns when all are done.
template <typename Body>
void OnThreads(int ranks, const Body& body) {
  const std::vector<std::unique_ptr<Communicator>> comms = ThreadCommunicators(ranks);
  std::vector<std::thread> threads;
  for (const auto& comm : comms) threads.emplace_back([&body, &comm] { body(*comm); });
  for (std::thread& thread : threads) thread.join();
}

}  // namespace photon::testing
