// What the checks of attention's operations share.
#pragma once

#include <string>

#include "absl/strings/str_cat.h"
#include "core/ops/attention.h"
#include "core/ops/checks.h"

namespace photon::ops {

inline bool IsRows(const Tensor& t, int64_t rows, int64_t columns, DType dtype) {
  return t.defined() && t.shape() == Shape{rows, columns} && t.stride(1) == 1 && t.dtype() == dtype;
}

inline bool IsPossible(const AttentionShape& s) {
  return s.heads >= 1 && s.kv_heads >= 1 && s.kv_heads <= s.heads && s.head_dim >= 1;
}

inline std::string Describe(const AttentionShape& s) {
  return absl::StrCat("batch ", s.batch, ", length ", s.length, ", keys ", s.key_count(), ", offset ", s.offset,
                      ", heads ", s.heads, ", kv_heads ", s.kv_heads, ", head_dim ", s.head_dim,
                      s.first_key.defined() ? ", first_key " + s.first_key.ToString() : "");
}

}  // namespace photon::ops
