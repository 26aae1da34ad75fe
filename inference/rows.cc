#include "inference/rows.h"

#include "core/ops/elementwise.h"
#include "core/ops/rows.h"

namespace photon {

Tensor JoinRows(const Context& context, absl::Span<const Tensor> parts) {
  if (parts.size() == 1) return parts[0];
  int64_t rows = 0;
  for (const Tensor& part : parts) rows += part.dim(0);
  const Tensor joined = context.Empty({rows, parts[0].dim(1)}, parts[0].dtype());
  int64_t row = 0;
  for (const Tensor& part : parts) {
    ops::Cast(context, part, joined.Rows(row, row + part.dim(0)));
    row += part.dim(0);
  }
  return joined;
}

Tensor PickRows(const Context& context, const Tensor& x, const std::vector<int32_t>& index) {
  const Tensor picked = context.Empty({static_cast<int64_t>(index.size()), x.dim(1)}, x.dtype());
  ops::SelectRows(context, x, Tensor(), UploadIds(context, index), picked);
  return picked;
}

Tensor UploadIds(const Context& context, absl::Span<const int32_t> ids) {
  return context.FromHost(ids.data(), {static_cast<int64_t>(ids.size())}, DType::kI32);
}

std::vector<double> ToHostDoubles(const Context& context, const Tensor& tensor) {
  std::vector<double> values(tensor.elements());
  VisitFloat(tensor.dtype(), [&](auto tag) {
    using T = decltype(tag);
    std::vector<T> raw(values.size());
    context.ToHost(tensor, raw.data());
    for (size_t i = 0; i < raw.size(); ++i) values[i] = static_cast<double>(raw[i]);
  });
  return values;
}

}  // namespace photon
