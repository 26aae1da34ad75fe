#include "tests/simt/emulator/ranges.h"

#include "tests/simt/nvtx3/nvToolsExt.h"

namespace photon::simt {
namespace {

struct Tool {
  bool listens = false;
  std::vector<std::string> open, heard;
};

Tool& TheTool() {
  static Tool tool;
  return tool;
}

}  // namespace

void ListenToRanges(bool on) { TheTool() = Tool{.listens = on, .open = {}, .heard = {}}; }
std::vector<std::string> RangesHeard() { return TheTool().heard; }
int OpenRanges() { return static_cast<int>(TheTool().open.size()); }

}  // namespace photon::simt

int nvtxRangePushA(const char* message) {
  photon::simt::Tool& tool = photon::simt::TheTool();
  if (!tool.listens) return -2;
  tool.open.push_back(tool.open.empty() ? message : tool.open.back() + "/" + message);
  tool.heard.push_back(tool.open.back());
  return photon::simt::OpenRanges() - 1;
}

int nvtxRangePop() {
  photon::simt::Tool& tool = photon::simt::TheTool();
  if (!tool.listens || tool.open.empty()) return -2;
  tool.open.pop_back();
  return photon::simt::OpenRanges();
}
