#include "data/corpus.h"
#include "tests/fuzz/targets.h"
#include "tests/support/temporary_folder.h"

namespace photon::fuzz {

void FuzzCorpusLines(absl::string_view bytes) {
  const testing::TemporaryFolder folder;
  CorpusOptions options;
  options.files = {folder.Write("corpus.jsonl", std::string(bytes))};
  for (const OnError on_error : {OnError::kFail, OnError::kSkip}) {
    options.on_error = on_error;
    absl::StatusOr<CorpusReader> reader = CorpusReader::Create(options);
    if (!reader.ok()) return;
    for (TextPart part;;) {
      const absl::StatusOr<bool> more = reader->Next(&part);
      if (!more.ok() || !*more) break;
    }
  }
}

}  // namespace photon::fuzz
