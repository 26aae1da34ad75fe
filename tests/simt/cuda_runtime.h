// Stands in for NVIDIA's header of this name, so that g++ compiles core/cuda for the emulated GPU (README.md).
#pragma once

#include "tests/simt/emulator/collectives.h"
#include "tests/simt/emulator/intrinsics.h"
#include "tests/simt/emulator/language.h"
#include "tests/simt/emulator/runtime.h"
