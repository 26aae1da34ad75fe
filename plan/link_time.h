// How long ranks take to exchange bytes, from figures of a device's links.
#pragma once

#include "core/dry/device_figures.h"
#include "parallel/dry/replay.h"

namespace photon {

// Latency for every round, and the bytes that a rank sends over the slowest link that the group needs: the network
// where its members stand in several nodes, consecutive ranks filling one node after the other. Rounds: 1 of a message;
// log2(n) up and as many down of a sum; log2(n) of the others. Every rank has the network port that the figures give
// it.
dry::CallTime LinkTime(const dry::DeviceFigures& figures);

}  // namespace photon
