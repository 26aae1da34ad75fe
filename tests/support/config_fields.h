// Configs with some fields set, for tests.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "configs/config.h"

namespace photon::testing {

// `fields`: "parallel.tp=2", as photon's --set takes them.
inline RunConfig WithFields(RunConfig config, const std::vector<std::string>& fields) {
  for (const std::string& field : fields) {
    const absl::Status set = ApplyOverride(field, &config);
    EXPECT_TRUE(set.ok()) << set;
  }
  return config;
}

}  // namespace photon::testing
