// What photon exports as GGUF, in llama.cpp (pip llama-cpp-python): the same logits, tokens and pieces.
//
// Runs with the interpreter in PHOTON_PEERS_PYTHON, else with python3; skipped where that has no llama_cpp.
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_split.h"
#include "core/file.h"
#include "data/tokenizer.h"
#include "tests/data/bpe/styles.h"
#include "tests/launch/model_checkpoint.h"
#include "tests/launch/process.h"
#include "tests/support/models.h"
#include "tests/support/peers_python.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/tensors.h"

namespace photon {
namespace {

using namespace photon::testing;
using Rows = std::vector<std::vector<double>>;

// logits GGUF IDS COUNT: of every position, in f32 caches without flash attention; then COUNT tokens, greedily.
// tokenize GGUF TEXTS: ids of each text, nothing added.
constexpr char kScript[] = R"(
import ctypes, json, sys
import llama_cpp as l
quiet = l.llama_log_callback(lambda level, text, user: None)
l.llama_log_set(quiet, ctypes.c_void_p(0))
l.llama_backend_init()
command, gguf, file = sys.argv[1:4]
given = json.load(open(file))
parameters = l.llama_model_default_params()
parameters.vocab_only = command == "tokenize"
model = l.llama_model_load_from_file(gguf.encode(), parameters)
assert model, "llama.cpp refused the file"
vocab = l.llama_model_get_vocab(model)
size = l.llama_vocab_n_tokens(vocab)
if command == "tokenize":
    result = []
    for text in given:
        raw = text.encode()
        ids = (l.llama_token * (len(raw) + 8))()
        count = l.llama_tokenize(vocab, raw, len(raw), ids, len(ids), False, False)
        result.append(ids[:count])
    result = {"ids": result, "bos": l.llama_vocab_bos(vocab), "eos": l.llama_vocab_eos(vocab), "size": size}
else:
    steps = int(sys.argv[4])
    parameters = l.llama_context_default_params()
    parameters.n_ctx = len(given) + steps + 1
    parameters.n_threads = parameters.n_threads_batch = 1
    parameters.type_k = parameters.type_v = l.GGML_TYPE_F32
    parameters.flash_attn_type = 0
    context = l.llama_init_from_model(model, parameters)
    assert context, "llama.cpp refused the model"
    def decode(ids, at):
        batch = l.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = token, at + i, 1, 0, 1
        assert l.llama_decode(context, batch) == 0
        return [l.llama_get_logits_ith(context, i)[:size] for i in range(len(ids))]
    result = {"logits": decode(given, 0), "greedy": []}
    last = result["logits"][-1]
    for step in range(steps):
        token = max(range(size), key=lambda i: (last[i], -i))
        result["greedy"].append(token)
        last = decode([token], len(given) + step)[0]
json.dump(result, open(sys.argv[-1], "w"))
)";

class LlamaCpp : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!PeersPythonHas("llama_cpp")) {
      GTEST_SKIP() << "no llama_cpp in " << PeersPython() << " (pip install llama-cpp-python; PHOTON_PEERS_PYTHON)";
    }
    std::ofstream(folder_ / "script.py") << kScript;
  }

  // Writes the model and exports it; `tokenizer` is a file's bytes and may be empty.
  void Export(const LanguageModel& model, const std::string& dtype, const std::string& tokenizer = "",
              const std::string& more = "") {
    ASSERT_NO_FATAL_FAILURE(WriteModelCheckpoint(folder_ / "model", model, tokenizer));
    const Outcome outcome = RunPhoton(absl::StrCat("checkpoint export --format gguf --checkpoint ", folder_ / "model",
                                                   " --dtype ", dtype, " --out ", gguf(), " ", more));
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  }

  nlohmann::json Run(const std::string& command, const nlohmann::json& given, const std::string& more = "") {
    std::ofstream(folder_ / "given.json") << given.dump();
    const std::string line = absl::StrCat(PeersPython(), " ", folder_ / "script.py", " ", command, " ", gguf(), " ",
                                          folder_ / "given.json", " ", more, " ", folder_ / "result.json");
    EXPECT_EQ(std::system(line.c_str()), 0) << line;
    std::ifstream in(folder_ / "result.json");
    return nlohmann::json::parse(in, nullptr, /*allow_exceptions=*/false);
  }

  std::string gguf() const { return folder_ / "F.gguf"; }

  const TemporaryFolder folder_;
};

double Distance(const Rows& a, const Rows& b) {
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    for (size_t j = 0; j < a[i].size(); ++j) largest = std::max(largest, std::abs(a[i][j] - b[i][j]));
  }
  return largest;
}

// That each of `count` tokens is the likeliest after those before it.
void ExpectGreedy(const Context& context, const LanguageModel& model, std::vector<int32_t> ids,
                  const std::vector<int32_t>& generated, size_t count) {
  EXPECT_EQ(generated.size(), count);
  for (const int32_t token : generated) {
    const std::vector<double> last = Logits(context, model, TokenBatch::FromIds(ids, 1, false)).back();
    EXPECT_EQ(std::max_element(last.begin(), last.end()) - last.begin(), token) << "after " << ids.size();
    ids.push_back(token);
  }
}

TEST_F(LlamaCpp, ComputesTheSame) {
  const TestContext context;
  for (const TinyModel& tiny : {TinyModel{.chunks = {}, .width = 64, .heads = 4, .kv_heads = 4, .layers = 3},
                                TinyModel{.chunks = {}, .width = 48, .heads = 4, .kv_heads = 2, .layers = 2}}) {
    SCOPED_TRACE(Describe(tiny));
    const std::vector<int32_t> ids = RandomTokens(24, tiny.vocab, 5);
    const auto logits = [&](DType master, DType compute, const std::vector<int32_t>& tokens) {
      return Logits(context, *MakeModel(context, tiny, master, compute), TokenBatch::FromIds(tokens, 1, false));
    };
    const Rows exact = logits(DType::kF64, DType::kF64, ids);
    const std::unique_ptr<LanguageModel> model = MakeModel(context, tiny);
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      SCOPED_TRACE(std::string(Name(dtype)));
      ASSERT_NO_FATAL_FAILURE(Export(*model, std::string(Name(dtype))));
      const nlohmann::json result = Run("logits", ids, "16");
      ASSERT_TRUE(result.is_object());
      const Rows theirs = result["logits"].get<Rows>();
      ASSERT_EQ(theirs.size(), ids.size());
      ASSERT_EQ(theirs[0].size(), static_cast<size_t>(tiny.vocab));
      // Both round every product and sum of the same formulas in the same precision, in other orders; their distance
      // from the exact result is of one size, and they may lie on opposite sides of it. Rounding errors are random:
      // largest ones of two samples differ by less than the factor 4 that makes 1 + 4 = 5.
      const double own = Distance(logits(DType::kF32, dtype, ids), exact);
      EXPECT_LE(Distance(theirs, logits(DType::kF32, dtype, ids)), 5 * own);
      EXPECT_LT(own, dtype == DType::kF32 ? 1e-4 : 0.3) << "too coarse to tell a wrong formula";
      if (dtype == DType::kBF16) continue;
      ExpectGreedy(context, *model, ids, result["greedy"].get<std::vector<int32_t>>(), 16);
    }
  }
}

TEST_F(LlamaCpp, CutsTextsTheSame) {
  const char* data = std::getenv("PHOTON_TEST_DATA");
  if (data == nullptr) GTEST_SKIP() << "PHOTON_TEST_DATA is not set: no tokenizers, no texts";
  const std::string folder = data;
  const TestContext context;
  std::vector<std::string> texts = {"",
                                    "a",
                                    " a",
                                    "  two  spaces ",
                                    "line\nnext\n\n line",
                                    "naïve café 北京 😀 \t tab",
                                    "x = 12345678; // 3.14159",
                                    "It's we'll I'M THEY'RE"};
  const std::string wiki = *ReadFile(folder + "/text/wikitext2-test.txt");
  for (const absl::string_view line : absl::StrSplit(absl::string_view(wiki).substr(0, 200000), '\n')) {
    texts.emplace_back(line);
  }
  struct Case {
    const char* file;
    int pieces;
  };
  for (const Case& c : {Case{"llama2.model", 32000}, Case{"gpt2.json", 50257}}) {
    SCOPED_TRACE(c.file);
    const std::string file = folder + "/tokenizers/" + c.file;
    const auto tokenizer = Tokenizer::FromFile(file);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    const auto model =
        MakeModel(context, TinyModel{.chunks = {}, .width = 8, .heads = 2, .kv_heads = 2, .vocab = c.pieces + 7});
    ASSERT_NO_FATAL_FAILURE(Export(*model, "bf16", *ReadFile(file)));
    const nlohmann::json result = Run("tokenize", texts);
    ASSERT_TRUE(result.is_object());
    EXPECT_EQ(result["size"], c.pieces + 7) << "the model's vocabulary";
    EXPECT_EQ(result["bos"], (*tokenizer)->bos());
    EXPECT_EQ(result["eos"], (*tokenizer)->eos());
    for (size_t i = 0; i < texts.size(); ++i) {
      EXPECT_EQ(result["ids"][i].get<std::vector<int32_t>>(), (*tokenizer)->Encode(texts[i])) << texts[i];
    }
  }
}

// Small tokenizers in the styles that llama.cpp has names for. With merges ignored and without, a word that is a piece
// but no result of merges is cut differently.
TEST_F(LlamaCpp, CutsTextsTheSameInEveryStyle) {
  const TestContext context;
  std::vector<std::vector<std::vector<int32_t>>> of_llama3;
  const std::pair<const char*, bool> cases[] = {
      {"gpt2", false}, {"gpt_neox", false}, {"qwen2", false}, {"llama3", false}, {"llama3", true}};
  for (const auto& [name, ignore_merges] : cases) {
    SCOPED_TRACE(absl::StrCat(name, ignore_merges ? ", merges ignored" : ""));
    nlohmann::json json = FindStyle(name).tokenizer;
    json["normalizer"] = nullptr;
    json["model"]["ignore_merges"] = ignore_merges;
    json["model"]["merges"] = FindStyle("ignored_merges").tokenizer["model"]["merges"];  // lacks some
    const auto tokenizer = Tokenizer::FromBytes(json.dump(), name);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    const auto vocab = static_cast<int>((*tokenizer)->vocab_size());
    const auto model =
        MakeModel(context, TinyModel{.chunks = {}, .width = 8, .heads = 2, .kv_heads = 2, .vocab = vocab});
    ASSERT_NO_FATAL_FAILURE(Export(*model, "bf16", json.dump()));
    std::vector<std::string> texts;
    std::vector<std::vector<int32_t>> ids;
    for (const std::string& text : FindStyle(name).texts) {
      if (text.find("<|") != std::string::npos) continue;  // llama.cpp is told not to look for special tokens
      texts.push_back(text);
      ids.push_back((*tokenizer)->Encode(text));
    }
    const nlohmann::json result = Run("tokenize", texts);
    ASSERT_TRUE(result.is_object());
    for (size_t i = 0; i < texts.size(); ++i) {
      EXPECT_EQ(result["ids"][i].get<std::vector<int32_t>>(), ids[i]) << texts[i];
    }
    if (std::string(name) == "llama3") of_llama3.push_back(ids);
  }
  ASSERT_EQ(of_llama3.size(), 2u);
  EXPECT_NE(of_llama3[0], of_llama3[1]) << "no text tells whether merges are ignored";
}

TEST_F(LlamaCpp, GeneratesFromIdsWhereTheTokenizerIsLeftOut) {
  const TestContext context;
  nlohmann::json json = FindStyle("gpt_neox").tokenizer;
  json["normalizer"] = {{"type", "NFC"}};  // refused otherwise
  const auto model = MakeModel(context, TinyModel{.chunks = {}, .vocab = 664});
  ASSERT_NO_FATAL_FAILURE(Export(*model, "f32", json.dump(), "--tokenizer none"));
  const std::vector<int32_t> ids = RandomTokens(12, 664, 9);
  const nlohmann::json result = Run("logits", ids, "16");
  ASSERT_TRUE(result.is_object());
  EXPECT_EQ(result["logits"][0].size(), 664u);
  ExpectGreedy(context, *model, ids, result["greedy"].get<std::vector<int32_t>>(), 16);
}

}  // namespace
}  // namespace photon
