#include "inference/window.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "inference/rows.h"

namespace photon {

KvCache NewWindow(const Context& context, const PhotonModel& model, int l) {
  const Level& level = model.level(l);
  return level.decoder.NewCache(context, level.prefix + level.chunk - 1);
}

Step::Value BeginWindows(Step& step, const Context& context, const PhotonModel& model, int l, Step::Value sources,
                         Windows windows) {
  const Level& level = model.level(l);
  for (KvCache* window : windows) window->Clear();
  const Step::Caches caches = step.Append(windows, level.prefix);
  const Tensor rope = model.RopeTable(context, caches.longest);
  const Step::Value out = step.Do(absl::StrCat("begin ", l), [=, &context, &level](const Step::Values& values) {
    Tape tape(context, Tape::Mode::kEvaluate);
    const Tensor prefixes = level.converter.Forward(tape, Var(values[sources])).value;  // [M R, D]
    return level.decoder.Extend(context, prefixes, caches.Table(values), rope);
  });
  if (level.prefix == 1) return out;
  std::vector<int32_t> last(windows.size());
  for (size_t i = 0; i < last.size(); ++i) last[i] = static_cast<int32_t>((i + 1) * level.prefix - 1);
  return PickRows(step, context, out, last);
}

Step::Value StepWindows(Step& step, const Context& context, const PhotonModel& model, int l, Step::Value contents,
                        Windows windows) {
  const Level& level = model.level(l);
  const Step::Caches caches = step.Append(windows, 1);
  const Tensor rope = model.RopeTable(context, caches.longest);
  return step.Do(absl::StrCat("step ", l), [=, &context, &level](const Step::Values& values) {
    return level.decoder.Extend(context, values[contents], caches.Table(values), rope);
  });
}

}  // namespace photon
