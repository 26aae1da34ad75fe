#include "inference/window.h"

#include "inference/rows.h"

namespace photon {
namespace {

int64_t WindowLength(const Level& level) { return level.prefix + level.chunk - 1; }

}  // namespace

KvCache NewWindow(const Context& context, const PhotonModel& model, int l) {
  return model.level(l).decoder.NewCache(context, WindowLength(model.level(l)));
}

Tensor BeginWindows(const Context& context, const PhotonModel& model, int l, const Tensor& sources, Windows windows) {
  const Level& level = model.level(l);
  for (KvCache* window : windows) window->Clear();
  Tape tape(context, Tape::Mode::kEvaluate);
  const Tensor prefixes = level.converter.Forward(tape, Var(sources)).value;  // [M R, D]
  const Tensor rope = model.RopeTable(context, WindowLength(level));
  const Tensor out = level.decoder.Extend(context, prefixes, windows, rope);
  if (level.prefix == 1) return out;
  std::vector<int32_t> last(windows.size());
  for (size_t i = 0; i < last.size(); ++i) last[i] = static_cast<int32_t>((i + 1) * level.prefix - 1);
  return PickRows(context, out, last);
}

Tensor StepWindows(const Context& context, const PhotonModel& model, int l, const Tensor& contents, Windows windows) {
  const Level& level = model.level(l);
  return level.decoder.Extend(context, contents, windows, model.RopeTable(context, WindowLength(level)));
}

}  // namespace photon
