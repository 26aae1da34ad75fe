#include "data/token_file_info.h"

#include "data/sources.h"
#include "tests/fuzz/targets.h"
#include "tests/support/temporary_folder.h"

namespace photon::fuzz {

void FuzzTokenFileInfo(absl::string_view bytes) {
  const testing::TemporaryFolder folder;
  folder.Write("tokens.json", std::string(bytes));
  const auto info = TokenFileInfo::Read(folder / "tokens");
  if (info.ok() && info->has_value()) (*info)->ToJson();
  DataConfig config;
  config.set_train(folder / "tokens");
  FindSources(config).IgnoreError();
  FindSetOf(folder / "tokens.part").IgnoreError();
}

}  // namespace photon::fuzz
