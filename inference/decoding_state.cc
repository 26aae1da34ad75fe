#include "inference/decoding_state.h"

namespace photon {

StateBytes DecodingState::bytes() const {
  StateBytes bytes;
  for (const std::optional<KvCache>& cache : encoders) bytes.context += cache ? cache->bytes() : 0;
  for (const KvCache& window : windows) bytes.windows += window.bytes();
  return bytes;
}

}  // namespace photon
