#include "inference/decoder.h"

#include <algorithm>

#include "inference/flat_decoder.h"
#include "inference/photon_decoder.h"

namespace photon {

std::unique_ptr<Decoder> Decoder::Create(const Context& context, const LanguageModel& model, OpenedDevice* device) {
  if (model.levels() == 0) {
    return std::make_unique<FlatDecoder>(context, static_cast<const VanillaModel&>(model), device);
  }
  return std::make_unique<PhotonDecoder>(context, static_cast<const PhotonModel&>(model), device);
}

void Decoder::Prefill(DecodingState& state, absl::Span<const int32_t> prompt) const {
  PHOTON_CHECK_EQ(state.tokens, 0);
  DecodingState* const states[] = {&state};
  const int64_t whole = UnitTokens(static_cast<int64_t>(prompt.size()));
  const int64_t slice = (kPrefillTokens + prompt_unit() - 1) / prompt_unit() * prompt_unit();
  for (int64_t begin = 0; begin < whole; begin += slice) {
    ReadUnits(states, prompt.subspan(begin, std::min(slice, whole - begin)));
  }
  const absl::Span<const int32_t> rest[] = {prompt.subspan(whole)};
  ReadRest(states, rest);
}

}  // namespace photon
