#include "data/token_file.h"

#include <algorithm>

#include "core/check.h"
#include "data/token_reader.h"
#include "tests/fuzz/targets.h"
#include "tests/support/temporary_folder.h"

namespace photon::fuzz {

// The first byte is how many the .bin file has; the others are the index.
void FuzzTokenFile(absl::string_view bytes) {
  if (bytes.empty()) return;
  const testing::TemporaryFolder folder;
  folder.Write("tokens.bin", std::string(static_cast<uint8_t>(bytes[0]), '\x81'));
  folder.Write("tokens.idx", std::string(bytes.substr(1)));
  const auto file = TokenFile::Open(folder / "tokens");
  if (!file.ok()) return;
  PHOTON_CHECK((*file)->Fingerprint().ok());
  for (int64_t document = 0; document <= (*file)->documents(); ++document) {
    const auto begin = (*file)->DocumentBegin(document);
    PHOTON_CHECK(!begin.ok() || (*begin >= 0 && *begin <= (*file)->tokens())) << *begin;
  }
  TokenReader reader(**file);
  std::vector<int32_t> ids(static_cast<size_t>((*file)->tokens()));
  PHOTON_CHECK(reader.Read(0, absl::MakeSpan(ids)).ok());
  for (int64_t begin = 0; begin < (*file)->tokens(); begin += 7) {
    const int64_t count = std::min<int64_t>(11, (*file)->tokens() - begin);
    const auto documents = reader.FindDocuments(begin, count);
    if (!documents.ok()) continue;
    PHOTON_CHECK(documents->first >= 0 && !documents->ends.empty());
    PHOTON_CHECK(documents->first + static_cast<int64_t>(documents->ends.size()) <= (*file)->documents());
    PHOTON_CHECK_EQ(documents->ends.back(), begin + count);
  }
}

}  // namespace photon::fuzz
