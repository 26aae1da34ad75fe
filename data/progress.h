// The progress line, under the name by which this folder knows it.
#pragma once

#include "core/progress.h"  // IWYU pragma: export
