// A device's operations, counting what they must read from its memory: the weights of a product, keys and values of
// caches. Waits for the device in between: for counting, not for timing.
#pragma once

#include "core/backend.h"

namespace photon {

// One at a time; not thread-safe.
class CountingBackend {
 public:
  struct Bytes {
    int64_t weights = 0, caches = 0;
    int64_t all() const { return weights + caches; }
  };
  static Bytes& bytes() {
    static Bytes bytes;
    return bytes;
  }
  // `base` as the base of all that is counted from now on.
  static const Backend& Over(const Backend& base) {
    static Backend table;
    Base() = &base;
    table = base;
    table.matmul = MatMul;
    table.cached_attention = CachedAttention;
    return table;
  }

 private:
  static const Backend*& Base() {
    static const Backend* base = nullptr;
    return base;
  }
  static void MatMul(const Context& context, const Tensor& a, bool ta, const Tensor& b, bool tb, const Tensor& bias,
                     float beta, const Tensor& c) {
    bytes().weights += static_cast<int64_t>(b.bytes());
    Base()->matmul(context, a, ta, b, tb, bias, beta, c);
  }
  static void CachedAttention(const Context& context, const Tensor& q, const ops::CacheTable& table,
                              const ops::AttentionShape& shape, const Tensor& out) {
    std::vector<int32_t> lengths(table.lengths.dim(0));
    context.ToHost(table.lengths, lengths.data());
    const int64_t position = 2 * shape.kv_heads * shape.head_dim * static_cast<int64_t>(ByteSize(q.dtype()));
    for (const int32_t length : lengths) bytes().caches += (length + table.rows) * position;
    Base()->cached_attention(context, q, table, shape, out);
  }
};

}  // namespace photon
