#include "core/counting_backend.h"

#include <algorithm>
#include <vector>

namespace photon {
namespace {

struct Counting {
  const Backend* base = nullptr;
  Ceilings ceilings;
  Counts counts;
} counting;

void Add(double bytes, double flops) {
  counting.counts.flops += flops;
  const Ceilings& most = counting.ceilings;
  if (most.bytes_per_s > 0) counting.counts.seconds += std::max(bytes / most.bytes_per_s, flops / most.flops_per_s);
}

void MatMul(const Context& context, const Tensor& a, bool ta, const Tensor& b, bool tb, const Tensor& bias, float beta,
            const Tensor& c) {
  counting.counts.weight_bytes += static_cast<int64_t>(b.bytes());
  Add(static_cast<double>(b.bytes()), 2.0 * static_cast<double>(c.elements()) * static_cast<double>(a.dim(ta ? 0 : 1)));
  counting.base->matmul(context, a, ta, b, tb, bias, beta, c);
}

void CachedAttention(const Context& context, const Tensor& q, const ops::CacheTable& table,
                     const ops::AttentionShape& shape, const Tensor& out) {
  std::vector<int32_t> lengths(table.lengths.dim(0));
  context.ToHost(table.lengths, lengths.data());
  const int64_t position = 2 * shape.kv_heads * shape.head_dim * static_cast<int64_t>(ByteSize(q.dtype()));
  int64_t bytes = 0;
  double pairs = 0;
  for (const int32_t length : lengths) {
    bytes += (length + table.rows) * position;
    pairs += static_cast<double>(table.rows) * (length + (table.rows + 1) / 2.0);
  }
  counting.counts.cache_bytes += bytes;
  Add(static_cast<double>(bytes), 4.0 * shape.heads * static_cast<double>(shape.head_dim) * pairs);
  counting.base->cached_attention(context, q, table, shape, out);
}

}  // namespace

Counts operator-(const Counts& a, const Counts& b) {
  return {a.weight_bytes - b.weight_bytes, a.cache_bytes - b.cache_bytes, a.flops - b.flops, a.seconds - b.seconds};
}

Counts& CountingBackend::counts() { return counting.counts; }

const Backend& CountingBackend::Over(const Backend& base, const Ceilings& ceilings) {
  static Backend table;
  counting.base = &base;
  counting.ceilings = ceilings;
  table = base;
  table.matmul = MatMul;
  table.cached_attention = CachedAttention;
  return table;
}

}  // namespace photon
