// What the fuzzers start from, what they found, and what they came to, in every build: nothing of it may end the
// process.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/file.h"
#include "tests/fuzz/targets.h"

namespace photon::fuzz {
namespace {

struct Target {
  const char* name;  // of its folder
  void (*run)(absl::string_view bytes);
};
constexpr Target kTargets[] = {{"chat_request", FuzzChatRequest},       {"completion_request", FuzzCompletionRequest},
                               {"config_override", FuzzConfigOverride}, {"corpus_lines", FuzzCorpusLines},
                               {"gguf_vocabulary", FuzzGgufVocabulary}, {"http_connection", FuzzHttpConnection},
                               {"json_lines", FuzzJsonLines},           {"manifest", FuzzManifest},
                               {"model_json", FuzzModelJson},           {"run_config", FuzzRunConfig},
                               {"safetensors", FuzzSafetensors},        {"sentencepiece", FuzzSentencePiece},
                               {"token_file", FuzzTokenFile},           {"token_file_info", FuzzTokenFileInfo},
                               {"tokenizer_json", FuzzTokenizerJson}};

class FuzzCorpus : public ::testing::TestWithParam<Target> {};

TEST_P(FuzzCorpus, EndsNothing) {
  std::vector<std::string> paths;
  for (const char* corpus : {PHOTON_FUZZ_CORPUS, PHOTON_FUZZ_GROWN_CORPUS}) {
    const size_t before = paths.size();
    for (const auto& entry : std::filesystem::directory_iterator(absl::StrCat(corpus, "/", GetParam().name))) {
      paths.push_back(entry.path().string());
    }
    ASSERT_GT(paths.size(), before) << corpus;
  }
  std::sort(paths.begin(), paths.end());
  for (const std::string& path : paths) {
    SCOPED_TRACE(path);
    const absl::StatusOr<std::string> bytes = ReadFile(path);
    ASSERT_TRUE(bytes.ok()) << bytes.status();
    GetParam().run(*bytes);
  }
}

INSTANTIATE_TEST_SUITE_P(All, FuzzCorpus, ::testing::ValuesIn(kTargets),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace photon::fuzz
