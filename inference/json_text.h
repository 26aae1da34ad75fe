// JSON as it is printed and sent. Any thread.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace photon {

// One line, without its end; what is no UTF-8 becomes U+FFFD.
std::string Dump(const nlohmann::ordered_json& json);
// Indented lines, with the end of the last one; likewise: files have any bytes in their names.
std::string DumpIndented(const nlohmann::ordered_json& json);

}  // namespace photon
