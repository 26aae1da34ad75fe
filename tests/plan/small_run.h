// A run that plans are made for in tests.
#pragma once

#include "configs/config.h"

namespace photon::testing {

inline RunConfig SmallRun() {
  return *ParseRunConfig(R"(
    model { vocab_size: 1024 width: 256 ffn: 768 heads: 8
            levels { encoder_layers: 2 decoder_layers: 2 } levels { encoder_layers: 2 decoder_layers: 2 } }
    data { train: "text" sequence_length: 512 }
    training { batch_sequences: 32 })",
                         "small");
}

}  // namespace photon::testing
