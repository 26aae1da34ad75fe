// cuBLASLt: products of matrices as core/ops/matmul.h defines them, and the choice of an algorithm for each shape.
//
// The first product of a shape asks the library for its candidates and times them on the operands; the fastest is kept,
// also in a file (core/cuda/algorithm_cache.h), so that later runs take the same one: another one sums in another
// order. Without Queue::times_products nothing is timed and no file is read: the library's first candidate is taken,
// which is the same in every run on such a device. Used by one thread.
#pragma once

#include <cublasLt.h>

#include <memory>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "core/allocator.h"
#include "core/context.h"
#include "core/cuda/algorithm_cache.h"

namespace photon::cuda {

// What an algorithm is chosen for. Row-major, as in core/ops/matmul.h.
struct ProductShape {
  int64_t m, n, k, lda, ldb, ldc;
  bool transpose_a, transpose_b, has_bias, accumulate;
  DType in, out;
  int align_a, align_b, align_c;  // powers of two that divide the addresses, up to 256

  std::string ToString() const;

  friend bool operator==(const ProductShape&, const ProductShape&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const ProductShape& p) {
    return H::combine(std::move(h), p.m, p.n, p.k, p.lda, p.ldb, p.ldc, p.transpose_a, p.transpose_b, p.has_bias,
                      p.accumulate, p.in, p.out, p.align_a, p.align_b, p.align_c);
  }
};

class MatrixProducts {
 public:
  // `chip`: names the device's model and driver. `memory`: of the workspace, from its main arena.
  MatrixProducts(int device, std::string chip, ZonedAllocator& memory);
  ~MatrixProducts();
  MatrixProducts(const MatrixProducts&) = delete;
  MatrixProducts& operator=(const MatrixProducts&) = delete;

  // Queues the product; false where the library has no algorithm for the shape.
  bool Multiply(const Context& context, const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b,
                const Tensor& bias, float beta, const Tensor& c);

 private:
  struct Plan;
  struct Operands {
    const void *a, *b, *bias;
    void* c;
  };

  void Open();  // the library, at the first product
  std::unique_ptr<Plan> MakePlan(const ProductShape& shape) const;
  // Sets the plan's algorithm; false where there is none.
  bool Choose(const Context& context, const ProductShape& shape, const Operands& operands, Plan& plan);
  void WarnOfPlain(const ProductShape& shape, cublasStatus_t status);
  void TakeFastest(const Context& context, const ProductShape& shape, const Operands& operands,
                   const std::vector<cublasLtMatmulHeuristicResult_t>& candidates, Plan& plan);
  cublasStatus_t Run(const Context& context, const Plan& plan, const cublasLtMatmulAlgo_t& algorithm,
                     const Operands& operands) const;
  void Check(cublasStatus_t status, const std::string& what) const;

  const int device_;
  const std::string chip_;
  ZonedAllocator& memory_;
  cublasLtHandle_t library_ = nullptr;
  std::shared_ptr<Storage> workspace_;
  std::unique_ptr<AlgorithmCache> cache_;
  bool warned_ = false;  // of a product that a plain kernel computes
  absl::flat_hash_map<ProductShape, std::unique_ptr<Plan>> plans_;
};

}  // namespace photon::cuda
