// What a benchmark found, as JSON for other programs.
#pragma once

#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

namespace photon {

// Prints {"bench": .., "device": .., .., "results": [{"name": .., ..}, ..]} on a line after the table, and writes it to
// `file` where that is not empty. False, with a message, where the file can't be written.
inline bool WriteReport(const nlohmann::json& report, const std::string& file) {
  const std::string text = report.dump();
  std::printf("\n%s\n", text.c_str());
  if (file.empty()) return true;
  std::FILE* out = std::fopen(file.c_str(), "w");
  const bool written = out != nullptr && std::fprintf(out, "%s\n", text.c_str()) > 0;
  const bool closed = out != nullptr && std::fclose(out) == 0;
  if (!written || !closed) std::fprintf(stderr, "%s: cannot be written\n", file.c_str());
  return written && closed;
}

}  // namespace photon
