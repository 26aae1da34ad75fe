// The tokenizers of styles.json, with texts, their ids and what those decode to by the library `tokenizers`.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace photon::testing {

struct Style {
  std::string name;
  nlohmann::json tokenizer;
  std::vector<std::string> texts;
  std::vector<std::vector<int32_t>> ids;
  std::vector<std::string> decoded;
};

inline const std::vector<Style>& Styles() {
  static const std::vector<Style> styles = [] {
    const nlohmann::json json = nlohmann::json::parse(std::ifstream(PHOTON_BPE_STYLES));
    std::vector<Style> read;
    for (const auto& [name, style] : json["styles"].items()) {
      nlohmann::json tokenizer = json["base"];
      tokenizer.merge_patch(style["patch"]);
      read.push_back({name, std::move(tokenizer), json["texts"], style["ids"], style["decoded"]});
    }
    return read;
  }();
  return styles;
}

inline const Style& FindStyle(const std::string& name) {
  for (const Style& style : Styles()) {
    if (style.name == name) return style;
  }
  throw std::out_of_range(name);
}

}  // namespace photon::testing
