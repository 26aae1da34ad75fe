// Keys and values that one stack has computed for one sequence (or one local window), layer by layer.
#pragma once

#include <cstdint>
#include <vector>

#include "core/context.h"

namespace photon {

class KvCache {
 public:
  // `width` = kv_heads * head_dim. Grows by doubling when `capacity` positions are exceeded.
  KvCache(const Context& context, int layers, int64_t width, DType dtype, int64_t capacity);

  // Copies would share the memory, and two sequences write the same rows: Copy() says that it costs memory.
  KvCache(KvCache&&) = default;
  KvCache& operator=(KvCache&&) = default;
  // The same positions in memory of its own.
  KvCache Copy() const;

  int64_t length() const { return length_; }  // positions held: also the next position's index, for RoPE
  int64_t bytes() const;                      // of the positions held, K and V, all layers
  // [capacity, width]
  const Tensor& keys(int layer) const { return keys_[layer]; }
  const Tensor& values(int layer) const { return values_[layer]; }

  // Writes rows k, v [n, width] of `layer` behind the positions held. Advance(n) once all layers have written.
  void Write(int layer, const Tensor& k, const Tensor& v);
  void Advance(int64_t positions) { length_ += positions; }
  void Clear() { length_ = 0; }  // forgets all positions, keeps the memory

 private:
  void Reserve(int64_t positions);

  const Context* context_;
  int64_t width_;
  int64_t capacity_ = 0;
  int64_t length_ = 0;
  DType dtype_;
  std::vector<Tensor> keys_, values_;
};

}  // namespace photon
