#include "core/ops/row_addresses.h"

#include "core/backend.h"
#include "core/ops/checks.h"

namespace photon::ops {
namespace {

bool FitsAddresses(const Tensor& rows, const Tensor& addresses) {
  return rows.defined() && rows.rank() == 2 && rows.contiguous() && IsFloating(rows) && addresses.defined() &&
         addresses.shape() == Shape{rows.dim(0)} && addresses.dtype() == DType::kI64 && addresses.contiguous();
}

}  // namespace

void GatherRows(const Context& context, const Tensor& addresses, const Tensor& out) {
  PHOTON_CHECK(FitsAddresses(out, addresses))
      << "[gather_rows] addresses " << addresses.ToString() << ", out " << out.ToString();
  if (out.elements() > 0) context.backend().gather_rows(context, addresses, out);
}

void ScatterRows(const Context& context, const Tensor& in, const Tensor& addresses) {
  PHOTON_CHECK(FitsAddresses(in, addresses))
      << "[scatter_rows] in " << in.ToString() << ", addresses " << addresses.ToString();
  if (in.elements() > 0) context.backend().scatter_rows(context, in, addresses);
}

}  // namespace photon::ops
