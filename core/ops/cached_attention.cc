#include "core/ops/cached_attention.h"

#include "absl/strings/str_cat.h"
#include "core/backend.h"
#include "core/ops/attention_checks.h"

namespace photon::ops {
namespace {

bool IsTable(const CacheTable& t) {
  const auto is_list = [&](const Tensor& list, DType dtype) {
    return list.defined() && list.rank() == 1 && list.dim(0) == t.bases.dim(0) && list.dtype() == dtype &&
           list.contiguous();
  };
  return is_list(t.bases, DType::kI64) && is_list(t.capacities, DType::kI64) && is_list(t.lengths, DType::kI32) &&
         t.layer >= 0 && t.rows >= 1 && t.longest >= t.rows;
}

std::string Describe(const CacheTable& t) {
  return absl::StrCat("caches: bases ", t.bases.ToString(), ", capacities ", t.capacities.ToString(), ", lengths ",
                      t.lengths.ToString(), ", layer ", t.layer, ", rows ", t.rows, ", longest ", t.longest);
}

}  // namespace

void AppendToCaches(const Context& context, const Tensor& qkv, const CacheTable& table, const AttentionShape& shape,
                    const Tensor& rope_table) {
  const auto is_rope_table = [&] {
    return rope_table.defined() && rope_table.rank() == 2 && rope_table.dim(0) >= table.longest &&
           rope_table.dim(1) == shape.head_dim && rope_table.contiguous() &&
           rope_table.dtype() == (qkv.dtype() == DType::kF64 ? DType::kF64 : DType::kF32);
  };
  PHOTON_CHECK(
      IsTable(table) && IsPossible(shape) && shape.head_dim % 2 == 0 && IsFloating(qkv) &&
      IsRows(qkv, table.bases.dim(0) * table.rows, (shape.heads + 2 * shape.kv_heads) * shape.head_dim, qkv.dtype()) &&
      is_rope_table())
      << "[append_to_caches] qkv " << qkv.ToString() << ", rope table " << rope_table.ToString() << "; "
      << Describe(table) << "; " << Describe(shape);
  if (qkv.dim(0) > 0) context.backend().append_to_caches(context, qkv, table, shape, rope_table);
}

void CachedAttention(const Context& context, const Tensor& q, const CacheTable& table, const AttentionShape& shape,
                     const Tensor& out) {
  PHOTON_CHECK(IsTable(table) && IsPossible(shape) && shape.head_dim % 2 == 0 && IsFloating(q) &&
               IsRows(q, table.bases.dim(0) * table.rows, shape.heads * shape.head_dim, q.dtype()) &&
               IsRows(out, q.dim(0), q.dim(1), q.dtype()))
      << "[cached_attention] q " << q.ToString() << ", out " << out.ToString() << "; " << Describe(table) << "; "
      << Describe(shape);
  if (q.dim(0) > 0) context.backend().cached_attention(context, q, table, shape, out);
}

void CopyCache(const Context& context, const Tensor& from, const Tensor& to, int64_t positions, int64_t head_dim) {
  const auto is_block = [&](const Tensor& t) {
    return t.defined() && t.rank() == 4 && t.contiguous() && t.dim(1) == 2 && t.dim(2) >= positions &&
           t.dim(0) == from.dim(0) && t.dim(3) == from.dim(3) && t.dtype() == from.dtype();
  };
  PHOTON_CHECK(is_block(from) && is_block(to) && IsFloating(from) && positions >= 0 && head_dim > 0 &&
               head_dim % 2 == 0 && from.dim(3) % head_dim == 0)
      << "[copy_cache] from " << from.ToString() << ", to " << to.ToString() << ", positions " << positions
      << ", head_dim " << head_dim;
  if (positions > 0) context.backend().copy_cache(context, from, to, positions, head_dim);
}

}  // namespace photon::ops
