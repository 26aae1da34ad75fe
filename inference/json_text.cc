#include "inference/json_text.h"

namespace photon {
namespace {

std::string DumpWith(int indent, const nlohmann::ordered_json& json) {
  return json.dump(indent, ' ', /*ensure_ascii=*/false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace

std::string Dump(const nlohmann::ordered_json& json) { return DumpWith(-1, json); }

std::string DumpIndented(const nlohmann::ordered_json& json) { return DumpWith(2, json) + "\n"; }

}  // namespace photon
