#include "checkpoint/manifest.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "checkpoint/inspect.h"
#include "core/checksum.h"
#include "tests/fuzz/targets.h"
#include "tests/support/temporary_folder.h"

namespace photon::fuzz {

// The input is what follows the first line, whose checksum no mutation would keep.
void FuzzManifest(absl::string_view bytes) {
  ManifestFromText(std::string(bytes)).IgnoreError();
  const std::string text = absl::StrCat("# photon checkpoint 1 xxh3-128 ", Checksum(bytes), "\n", bytes);
  if (!ManifestFromText(text).ok()) return;
  const testing::TemporaryFolder folder;
  folder.Write(kManifestName, text);
  InspectCheckpoint(folder.path(), InspectFormat::kText).IgnoreError();
  InspectCheckpoint(folder.path(), InspectFormat::kJson).IgnoreError();
  VerifyCheckpoint(folder.path());
}

}  // namespace photon::fuzz
