// Training data without a corpus: a token file of random ids, which a loader reads as it does in training.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <string>

#include "bench/train_model.h"
#include "configs/model_config.h"
#include "core/check.h"
#include "data/loader.h"
#include "data/open.h"
#include "data/token_file_writer.h"

namespace photon::bench {

class SyntheticData {
 public:
  // For a resolved config: four steps' tokens, then anew in another order.
  explicit SyntheticData(const RunConfig& config) {
    std::string folder = (std::filesystem::temp_directory_path() / "photon-bench-XXXXXX").string();
    PHOTON_CHECK(mkdtemp(folder.data()) != nullptr) << folder;
    folder_ = folder;
    const int sequences = config.training().batch_sequences();
    absl::StatusOr<TokenFileWriter> writer = TokenFileWriter::Create(Prefix(), config.model().vocab_size());
    PHOTON_CHECK(writer.ok()) << writer.status().message();
    const absl::Status written = writer->Append(RandomBatch(config, 4 * sequences).tokens);
    PHOTON_CHECK(written.ok()) << written.message();
    PHOTON_CHECK(writer->EndDocument().ok() && writer->Finish().ok() && writer->Publish().ok()) << folder;

    DataConfig data = config.data();
    data.clear_source();
    data.set_train(Prefix());
    data.set_valid_fraction(0);
    const auto opened =
        OpenData(data, config.model().vocab_size(), ChunkProduct(config.model(), config.model().levels_size()));
    PHOTON_CHECK(opened.ok()) << opened.status().message();
    absl::StatusOr<std::unique_ptr<Loader>> loader = Loader::Create(
        opened->train,
        {.batch_sequences = sequences, .micro_batch_sequences = config.training().micro_batch_sequences()});
    PHOTON_CHECK(loader.ok()) << loader.status().message();
    loader_ = *std::move(loader);
  }
  SyntheticData(const SyntheticData&) = delete;
  SyntheticData& operator=(const SyntheticData&) = delete;
  ~SyntheticData() {
    loader_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  Loader& loader() { return *loader_; }
  const std::string& folder() const { return folder_; }  // goes with this; there is room for a run's log

 private:
  std::string Prefix() const { return folder_ + "/tokens"; }

  std::string folder_;
  std::unique_ptr<Loader> loader_;
};

}  // namespace photon::bench
