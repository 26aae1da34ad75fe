// Stands in for NVIDIA's header of this name: a tool that tests switch on (tests/simt/emulator/ranges.h).
#pragma once

extern "C" {

// The depth of the range, from 0; negative where no tool listens.
int nvtxRangePushA(const char* message);
int nvtxRangePop();
}
