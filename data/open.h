// What a run's `data` section names, opened and checked against each other.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "configs/data.pb.h"
#include "core/status.h"
#include "data/tokenizer.h"
#include "data/training_data.h"

namespace photon {

struct OpenedData {
  std::shared_ptr<const TrainingData> train;
  std::vector<NamedDataset> valid;             // one a source; that of data.valid; or none (data.valid_fraction is 0)
  std::shared_ptr<const Tokenizer> tokenizer;  // null where none is known
  std::vector<std::string> notes;              // what the user should know, a line each
};

// Of a model that training goes on from.
struct ModelTokenizer {
  std::shared_ptr<const Tokenizer> tokenizer;  // null: none
  std::string path;                            // its file
};

// The tokenizer is data.tokenizer, or the one beside the token file or beside the set that it is a part of, or else
// `model`'s, which the others must not differ from (kFailedPrecondition).
// `vocab_size`: the model's. `default_align`: C_<=L, where data.align is unset. A source with one document is held out
// of only where it is the only one. Refuses, naming field or file: token files of another tokenizer than
// data.tokenizer, ids or a tokenizer beyond the model's vocabulary, a split that leaves nothing, and what FindSources
// refuses.
absl::StatusOr<OpenedData> OpenData(const DataConfig& config, int64_t vocab_size, int64_t default_align,
                                    const ModelTokenizer& model = {});

}  // namespace photon
