// What a dry device tells of an operation that it was asked for and did not do.
#pragma once

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "core/context.h"

namespace photon::dry {

struct Operation {
  absl::string_view name;       // as in the table of operations: "matmul"
  DType dtype = DType::kF32;    // of its first operand
  double flops = 0;             // a multiply-add is two; of products and attention alone
  double bytes = 0;             // that have to be read and written where nothing stays in a cache
  int64_t m = 0, n = 0, k = 0;  // of a product: C is [m, n]
  // The same for operations of the same name, types, shapes, strides and scalars.
  uint64_t signature = 0;
  // Does the operation on a real device, on operands like these with values that it may have, some times over. Returns
  // the seconds of one.
  absl::FunctionRef<double(const Context&)> measure;
};

// Called in the order of the operations, by the thread that asks for them. `operation` lives as long as the call.
class Listener {
 public:
  virtual ~Listener() = default;
  virtual void Did(const Operation& operation) = 0;
};

}  // namespace photon::dry
