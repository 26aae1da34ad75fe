#include "inference/decoder.h"

#include "inference/flat_decoder.h"
#include "inference/photon_decoder.h"

namespace photon {

std::unique_ptr<Decoder> Decoder::Create(const Context& context, const LanguageModel& model, OpenedDevice* device) {
  if (model.levels() == 0) {
    return std::make_unique<FlatDecoder>(context, static_cast<const VanillaModel&>(model), device);
  }
  return std::make_unique<PhotonDecoder>(context, static_cast<const PhotonModel&>(model), device);
}

}  // namespace photon
