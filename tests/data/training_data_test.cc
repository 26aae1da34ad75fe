#include "data/training_data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <set>

#include "absl/strings/str_cat.h"
#include "data/open.h"
#include "data/token_file_info.h"
#include "data/train_tokenizer.h"
#include "tests/data/temporary.h"

namespace photon {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::TemporaryFolder;
using testing::WriteDocuments;

constexpr int64_t kLength = 8;

std::shared_ptr<const Tokenizer> TestTokenizer() {
  const TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 20; ++i) text += "the end of the beginning of the end\n";
  const auto model = TrainTokenizer({.files = {folder.Write("t.txt", text)}, .separator = "", .part_bytes = 0}, 280);
  EXPECT_TRUE(model.ok()) << model.status();
  return *Tokenizer::FromBytes(*model, "test");
}

// Sources whose ids tell which they are: source s holds 1000 s + 0, 1, 2, .. in documents of 13.
class TrainingDataTest : public ::testing::Test {
 protected:
  void WriteSource(const std::string& name, int source, int documents) {
    std::vector<std::vector<int32_t>> ids(documents);
    int32_t id = 1000 * source;
    for (auto& document : ids) {
      document.resize(13);
      std::iota(document.begin(), document.end(), id);
      id += 13;
    }
    WriteDocuments(folder_ / name, ids, 10000);
  }
  DataConfig Config() {
    DataConfig config;
    config.set_sequence_length(kLength);
    config.set_valid_fraction(0);
    return config;
  }
  DataConfig Blended(std::initializer_list<std::pair<const char*, double>> sources) {
    DataConfig config = Config();
    for (const auto& [name, weight] : sources) {
      DataSource& source = *config.add_source();
      source.set_prefix(folder_ / name);
      if (weight >= 0) source.set_weight(weight);
    }
    return config;
  }
  // PREFIX.json of a set whose parts are files of the folder.
  void WriteSplit(const std::string& name, std::map<std::string, std::string> parts) {
    TokenFileInfo info;
    for (const auto& [set, prefix] : parts) info.sources[set] = {.documents = 1, .tokens = 1, .prefix = prefix};
    folder_.Write(name + ".json", info.ToJson());
  }
  absl::StatusOr<OpenedData> Open(const DataConfig& config) { return OpenData(config, 10000, 1); }
  std::shared_ptr<const TrainingData> Train(const DataConfig& config) {
    auto data = Open(config);
    EXPECT_TRUE(data.ok()) << data.status();
    return data->train;
  }

  TemporaryFolder folder_;
};

TEST_F(TrainingDataTest, SamplesComeInTheirSharesAndEpochsHoldEachOnce) {
  WriteSource("a", 0, 40), WriteSource("b", 1, 20), WriteSource("c", 2, 7);
  const auto train = Train(Blended({{"a", 0.5}, {"b", 0.3}, {"c", 0.2}}));
  std::map<int, std::vector<int32_t>> first_ids;  // by source
  for (int64_t step = 0; step < 100; ++step) {
    const auto batch = train->Batch(step, 5, 0, 5);
    ASSERT_TRUE(batch.ok()) << batch.status();
    for (int64_t row = 0; row < 5; ++row)
      first_ids[batch->tokens[row * kLength] / 1000].push_back(batch->tokens[row * kLength]);
    for (int s = 0; s < 3; ++s) {
      const double want = train->blend().share(s) * static_cast<double>(5 * (step + 1));
      ASSERT_LT(std::abs(static_cast<double>(first_ids[s].size()) - want), 1);
    }
  }
  for (int s = 0; s < 3; ++s) {
    const auto samples = static_cast<size_t>(train->sources()[s].dataset->samples());
    ASSERT_GE(first_ids[s].size(), samples) << "no whole epoch";
    for (size_t epoch = 0; (epoch + 1) * samples <= first_ids[s].size(); ++epoch) {
      const auto begin = first_ids[s].begin() + epoch * samples;
      EXPECT_EQ(std::set<int32_t>(begin, begin + samples).size(), samples) << "source " << s << ", epoch " << epoch;
    }
  }
}

TEST_F(TrainingDataTest, ABatchIsAFunctionOfSeedAndStepWhateverTheRanksAndTheOrder) {
  WriteSource("a", 0, 40), WriteSource("b", 1, 20), WriteSource("c", 2, 7);
  const DataConfig config = Blended({{"a", 5}, {"b", 3.1}, {"c", 2}});
  const auto train = Train(config);
  for (int64_t step : {int64_t{1'000'000'000}, int64_t{0}, int64_t{77}, int64_t{5000}}) {
    const auto whole = train->Batch(step, 12, 0, 12);
    ASSERT_TRUE(whole.ok()) << whole.status();
    for (int64_t ranks : {1, 2, 4}) {
      TokenBatch joined;
      const auto again = Train(config);
      for (int64_t rank = ranks - 1; rank >= 0; --rank) {
        const auto part = again->Batch(step, 12, rank * 12 / ranks, 12 / ranks);
        joined.tokens.insert(joined.tokens.begin(), part->tokens.begin(), part->tokens.end());
        joined.scored.insert(joined.scored.begin(), part->scored.begin(), part->scored.end());
      }
      EXPECT_EQ(joined.tokens, whole->tokens) << step << " on " << ranks;
      EXPECT_EQ(joined.scored, whole->scored);
    }
  }
  DataConfig other = config;
  other.set_seed(2);
  EXPECT_NE(Train(other)->Batch(3, 12, 0, 12)->tokens, train->Batch(3, 12, 0, 12)->tokens);
}

TEST_F(TrainingDataTest, OneSourceIsTheDatasetItself) {
  WriteSource("a", 0, 40);
  DataConfig config = Config();
  config.set_train(folder_ / "a");
  const auto train = Train(config);
  EXPECT_EQ(train->Batch(9, 4, 0, 4)->tokens, train->sources()[0].dataset->Batch(9, 4, 0, 4)->tokens);
}

TEST_F(TrainingDataTest, WithoutWeightsEpochsEndTogether) {
  WriteSource("a", 0, 40), WriteSource("b", 1, 8);  // 65 and 13 samples
  const auto train = Train(Blended({{"a", -1}, {"b", -1}}));
  EXPECT_THAT(train->blend().parts(), ElementsAre(65, 13));
  EXPECT_EQ(train->StepsOfOneEpoch(4), 78 / 4);
  EXPECT_EQ(train->Epochs(0, 39, 4), 2);
  EXPECT_EQ(train->Epochs(1, 39, 4), 2);
}

TEST_F(TrainingDataTest, EpochsAreCountedAndTheirBeginsAreFound) {
  WriteSource("a", 0, 40), WriteSource("b", 1, 8);
  const auto train = Train(Blended({{"a", 0.5}, {"b", 0.5}}));
  const int64_t steps = train->StepsOfOneEpoch(4);
  EXPECT_TRUE(steps == 26 / 4 || steps == 27 / 4) << steps;  // b's 13 samples take 26 or 27 of both
  std::vector<int> begun(2);
  for (int64_t step = 0; step < 130; ++step) {
    for (const auto& begin : train->EpochsBegun(step, 4)) {
      EXPECT_EQ(begin.epoch, ++begun[begin.source]);
      if (begin.source == 1 && begin.epoch == 1) EXPECT_EQ(step, steps);
    }
  }
  EXPECT_THAT(begun, ElementsAre(3, 19));  // the first 260 samples: ranks 65, 130, 195 of a; 13, .., 247 of b
}

TEST_F(TrainingDataTest, PartsOfASplitSetGoByTheirNames) {
  WriteSource("set.web", 0, 40), WriteSource("set.books", 1, 8);
  WriteSplit("set", {{"Pile-CC", "set.web"}, {"Books3", "set.books"}});
  DataConfig config = Config();
  config.set_train(folder_ / "set");
  auto train = Train(config);
  EXPECT_EQ(train->sources()[0].name, "Books3");
  EXPECT_THAT(train->blend().parts(), ElementsAre(13, 65)) << "as many as there are tokens";
  const auto weigh = [&config](const char* name, double weight) {
    SetWeight& set = *config.add_set_weight();
    set.set_name(name);
    set.set_weight(weight);
  };
  weigh("Pile-CC", 0.25);
  weigh("Books3", 0.75);
  train = Train(config);
  EXPECT_THAT(train->blend().parts(), ElementsAre(3, 1));
  EXPECT_EQ(train->sources()[1].name, "Pile-CC");

  config.mutable_set_weight(1)->set_name("Books");
  EXPECT_THAT(Open(config).status().message(), AllOf(HasSubstr("\"Books\""), HasSubstr("Books3, Pile-CC")));
  config.clear_set_weight();
  weigh("Pile-CC", 1);
  EXPECT_THAT(Open(config).status().message(), AllOf(HasSubstr("leaves out \"Books3\""), HasSubstr("weight: 0")));
  weigh("Books3", 0);
  EXPECT_EQ(Train(config)->sources().size(), 1u) << "left out on purpose";
  config.set_train(folder_ / "set.web");
  EXPECT_THAT(Open(config).status().message(), HasSubstr("--split-by-source"));
}

TEST_F(TrainingDataTest, HoldsOutDocumentsOfEverySource) {
  WriteSource("a", 0, 40), WriteSource("b", 1, 20);
  DataConfig config = Blended({{"a", 1}, {"b", 1}});
  config.set_valid_fraction(0.1);
  const auto data = Open(config);
  ASSERT_TRUE(data.ok()) << data.status();
  ASSERT_EQ(data->valid.size(), 2u);
  EXPECT_EQ(data->valid[0].dataset->tokens(), 4 * 13);
  EXPECT_EQ(data->valid[1].dataset->tokens(), 2 * 13);
  EXPECT_EQ(data->valid[1].dataset->Samples(0, 1)->tokens[0], 1000 + 18 * 13);
}

TEST_F(TrainingDataTest, AStrayDocumentOfItsOwnSourceIsTrainedOn) {
  WriteSource("a", 0, 1), WriteSource("b", 1, 20), WriteSource("c", 2, 1);
  DataConfig config = Blended({{"a", 1}, {"b", 1}});
  config.set_valid_fraction(0.1);
  const auto data = Open(config);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->train->sources().size(), 2u);
  ASSERT_EQ(data->valid.size(), 1u);
  EXPECT_EQ(data->valid[0].source, 1);
  EXPECT_THAT(data->notes, ElementsAre(AllOf(HasSubstr("/a has 1 document"), HasSubstr("none is held out"))));
  DataConfig strays = Blended({{"a", 1}, {"c", 1}});
  strays.set_valid_fraction(0.1);
  EXPECT_THAT(Open(strays).status().message(), AllOf(HasSubstr("no source"), HasSubstr("data.valid_fraction=0")));
}

// A set of two parts, one with a dot in its name, and one that another tokenizer made.
TEST_F(TrainingDataTest, APartOfASetHasTheSetsTokenizer) {
  const std::shared_ptr<const Tokenizer> tokenizer = TestTokenizer();
  const auto write_part = [&](const std::string& name, const std::string& hash) {
    WriteDocuments(folder_ / name, {{1, 2, 3}, {4, 5, 6}});
    TokenFileInfo info = {.tokens = 6, .documents = 2, .max_id = 6, .tokenizer_hash = hash};
    folder_.Write(name + ".json", info.ToJson());
  };
  write_part("set.v1.a", tokenizer->hash());
  write_part("set.v1.b.c", tokenizer->hash());
  write_part("set.v1.other", "0");
  write_part("set.v1.no-part", tokenizer->hash());
  WriteSplit("set.v1", {{"a", "set.v1.a"}, {"b.c", "set.v1.b.c"}, {"other", "set.v1.other"}});
  folder_.Write(absl::StrCat("set.v1.", TokenizerFileName(tokenizer->bytes())), tokenizer->bytes());
  DataConfig config = Config();
  for (const char* part : {"set.v1.a", "set.v1.b.c"}) {
    config.set_train(folder_ / part);
    auto data = Open(config);
    ASSERT_TRUE(data.ok()) << data.status();
    ASSERT_NE(data->tokenizer, nullptr) << part;
    EXPECT_EQ(data->tokenizer->hash(), tokenizer->hash());
    data = Open(Blended({{part, 1}}));
    ASSERT_TRUE(data.ok() && data->tokenizer != nullptr) << part;
  }
  config.set_train(folder_ / "set.v1.other");
  EXPECT_THAT(Open(config).status().message(), HasSubstr("prepared with another tokenizer"));
  config.set_train(folder_ / "set.v1.no-part");
  EXPECT_EQ(Open(config)->tokenizer, nullptr) << "of nothing that the set names";
  EXPECT_THAT(Open(config)->notes, ElementsAre(HasSubstr("no-part was prepared with a tokenizer that is not beside")));
}

// Of a model that training goes on from.
TEST_F(TrainingDataTest, WithoutATokenizerOfTheirOwnDataHaveTheModelsWhereItIsTheirs) {
  const ModelTokenizer model = {TestTokenizer(), "RUN/tokenizer.json"};
  WriteDocuments(folder_ / "a", {{1, 2, 3}, {4, 5, 6}});
  DataConfig config = Config();
  config.set_train(folder_ / "a");
  auto data = OpenData(config, 10000, 1, model);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->tokenizer, model.tokenizer);
  EXPECT_THAT(data->notes, ElementsAre(HasSubstr("taken to be RUN/tokenizer.json")));
  TokenFileInfo info = {.tokens = 6, .documents = 2, .max_id = 6, .tokenizer_hash = model.tokenizer->hash()};
  folder_.Write("a.json", info.ToJson());
  data = OpenData(config, 10000, 1, model);
  EXPECT_EQ(data->tokenizer, model.tokenizer);
  EXPECT_THAT(data->notes, ElementsAre());
  info.tokenizer_hash = "0";
  info.max_id = 20000;  // the first thing to say is not that the model should grow
  folder_.Write("a.json", info.ToJson());
  EXPECT_THAT(OpenData(config, 10000, 1, model).status().message(),
              AllOf(HasSubstr("prepared with another tokenizer"), HasSubstr("--tokenizer RUN/tokenizer.json")));
}

TEST_F(TrainingDataTest, ASourceAsGoodAsNeverSeenIsRefusedByName) {
  WriteSource("a", 0, 40), WriteSource("b", 1, 20);
  EXPECT_THAT(Open(Blended({{"a", 1e7}, {"b", 1}})).status().message(), AllOf(HasSubstr("source 1"), HasSubstr("/b")));
}

TEST_F(TrainingDataTest, AFileOfASourceThatChangesIsNamed) {
  WriteSource("a", 0, 40), WriteSource("b", 1, 20);
  const auto train = Train(Blended({{"a", 1}, {"b", 1}}));
  EXPECT_TRUE(train->CheckUnchanged().ok());
  WriteSource("b", 1, 21);
  EXPECT_EQ(train->CheckUnchanged().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(train->CheckUnchanged().message(), HasSubstr("/b.idx changed"));
  EXPECT_TRUE(train->Batch(0, 4, 0, 4).ok()) << "the open file is the old one";
}

}  // namespace
}  // namespace photon
