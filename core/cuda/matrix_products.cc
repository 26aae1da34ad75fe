#include "core/cuda/matrix_products.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/cuda/error.h"
#include "core/cuda/queue.h"
#include "core/device.h"

namespace photon::cuda {
namespace {

constexpr size_t kWorkspace = 32ull << 20;  // what NVIDIA advises for Hopper
constexpr int kCandidates = 8;
constexpr int kTimedRuns = 3;
constexpr size_t kCapacity = 4096;  // plans: prompts of ever new lengths make ever new shapes

cudaDataType_t TypeOf(DType dtype) {
  return dtype == DType::kF64 ? CUDA_R_64F : dtype == DType::kBF16 ? CUDA_R_16BF : CUDA_R_32F;
}

int Alignment(const void* address) {
  const uintptr_t a = reinterpret_cast<uintptr_t>(address) | 256;
  return static_cast<int>(a & -a);
}

std::string Said(cublasStatus_t status) {
  return absl::StrCat("cuBLASLt ", cublasLtGetVersion(), " says ", cublasLtGetStatusName(status), " (",
                      cublasLtGetStatusString(status), ")");
}

void Require(cublasStatus_t status, const std::string& what) {
  if (status != CUBLAS_STATUS_SUCCESS) throw DeviceError(absl::StrCat(what, ": ", Said(status)));
}

// Set once in attributes, which the library copies.
template <typename T>
void Set(cublasLtMatmulDesc_t description, cublasLtMatmulDescAttributes_t attribute, T value) {
  Require(cublasLtMatmulDescSetAttribute(description, attribute, &value, sizeof(value)),
          absl::StrCat("attribute ", attribute, " of a matrix product"));
}
template <typename T>
void Set(cublasLtMatmulPreference_t preference, cublasLtMatmulPreferenceAttributes_t attribute, T value) {
  Require(cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof(value)),
          absl::StrCat("attribute ", attribute, " of the choice of a matrix product"));
}

// How the library is asked: it counts columns first, for which a row-major matrix is its own transpose. Hence
// C^T [n, m] = op(B)^T [n, k] op(A)^T [k, m]: B stands first.
cublasLtMatrixLayout_t Layout(DType dtype, int64_t rows, int64_t columns, int64_t stride) {
  cublasLtMatrixLayout_t layout = nullptr;
  // A single row may have any stride, which the library still checks.
  cublasLtMatrixLayoutCreate(&layout, TypeOf(dtype), columns, rows, std::max(stride, columns));
  return layout;
}

AlgorithmCache::Algorithm Words(const cublasLtMatmulAlgo_t& algorithm) {
  AlgorithmCache::Algorithm words;
  static_assert(sizeof(words) == sizeof(algorithm));
  std::memcpy(words.data(), &algorithm, sizeof(words));
  return words;
}

}  // namespace

std::string ProductShape::ToString() const {
  return absl::StrCat(m, "x", n, "x", k, " ld ", lda, ",", ldb, ",", ldc, transpose_a ? " T" : " N",
                      transpose_b ? "T" : "N", has_bias ? " bias" : "", accumulate ? " += " : " = ", Name(in), "->",
                      Name(out), " align ", align_a, ",", align_b, ",", align_c);
}

struct MatrixProducts::Plan {
  ~Plan() {
    for (cublasLtMatrixLayout_t layout : {a, b, c}) {
      if (layout != nullptr) cublasLtMatrixLayoutDestroy(layout);
    }
    if (description != nullptr) cublasLtMatmulDescDestroy(description);
  }

  cublasLtMatmulDesc_t description = nullptr;
  cublasLtMatrixLayout_t a = nullptr, b = nullptr, c = nullptr;
  bool is_double = false, accumulate = false, usable = false;
  cublasLtMatmulAlgo_t algorithm;
};

MatrixProducts::MatrixProducts(int device, std::string chip, ZonedAllocator& memory)
    : device_(device), chip_(std::move(chip)), memory_(memory) {}

MatrixProducts::~MatrixProducts() {
  plans_.clear();
  if (library_ != nullptr) cublasLtDestroy(library_);
}

void MatrixProducts::Check(cublasStatus_t status, const std::string& what) const {
  Require(status, absl::StrCat("cuda:", device_, ", matmul ", what));
}

void MatrixProducts::Open() {
  if (library_ != nullptr) return;
  Check(cublasLtCreate(&library_), "opening the library");
  workspace_ = memory_.main().Allocate(kWorkspace);
  cache_ = std::make_unique<AlgorithmCache>(AlgorithmCache::Folder(), absl::StrCat(chip_, " ", cublasLtGetVersion()));
}

std::unique_ptr<MatrixProducts::Plan> MatrixProducts::MakePlan(const ProductShape& p) const {
  auto plan = std::make_unique<Plan>();
  plan->is_double = p.in == DType::kF64;
  plan->accumulate = p.accumulate;
  // Full f32 products: TF32 would have 10 bits.
  Check(cublasLtMatmulDescCreate(&plan->description, plan->is_double ? CUBLAS_COMPUTE_64F : CUBLAS_COMPUTE_32F,
                                 plan->is_double ? CUDA_R_64F : CUDA_R_32F),
        p.ToString());
  Set(plan->description, CUBLASLT_MATMUL_DESC_TRANSA, p.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
  Set(plan->description, CUBLASLT_MATMUL_DESC_TRANSB, p.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
  if (p.has_bias) Set(plan->description, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
  plan->a = p.transpose_a ? Layout(p.in, p.k, p.m, p.lda) : Layout(p.in, p.m, p.k, p.lda);
  plan->b = p.transpose_b ? Layout(p.in, p.n, p.k, p.ldb) : Layout(p.in, p.k, p.n, p.ldb);
  plan->c = Layout(p.out, p.m, p.n, p.ldc);
  return plan;
}

cublasStatus_t MatrixProducts::Run(const Context& context, const Plan& plan, const cublasLtMatmulAlgo_t& algorithm,
                                   const Operands& operands) const {
  const double one = 1, zero = 0;
  const float one_f = 1, zero_f = 0;
  const void* alpha = plan.is_double ? static_cast<const void*>(&one) : &one_f;
  const void* no = plan.is_double ? static_cast<const void*>(&zero) : &zero_f;
  if (operands.bias != nullptr) Set(plan.description, CUBLASLT_MATMUL_DESC_BIAS_POINTER, operands.bias);
  return cublasLtMatmul(library_, plan.description, alpha, operands.b, plan.b, operands.a, plan.a,
                        plan.accumulate ? alpha : no, operands.c, plan.c, operands.c, plan.c, &algorithm,
                        workspace_->data(), kWorkspace, QueueOf(context).stream);
}

void MatrixProducts::TakeFastest(const Context& context, const ProductShape& shape, const Operands& operands,
                                 const std::vector<cublasLtMatmulHeuristicResult_t>& candidates, Plan& plan) {
  // What accumulates must do it once: it is timed on other memory.
  const Tensor scratch = shape.accumulate ? context.Empty({shape.m * shape.ldc}, shape.out) : Tensor();
  Operands timed = operands;
  if (scratch.defined()) timed.c = scratch.raw();
  const cudaStream_t stream = QueueOf(context).stream;
  cudaEvent_t begin = nullptr, end = nullptr;
  cuda::Check(cudaEventCreate(&begin), device_, "timing matrix products");
  cuda::Check(cudaEventCreate(&end), device_, "timing matrix products");
  float best = -1;
  for (const cublasLtMatmulHeuristicResult_t& candidate : candidates) {
    if (Run(context, plan, candidate.algo, timed) != CUBLAS_STATUS_SUCCESS) continue;  // also warms up
    cuda::Check(cudaEventRecord(begin, stream), device_, "timing matrix products");
    for (int i = 0; i < kTimedRuns; ++i) Run(context, plan, candidate.algo, timed);
    cuda::Check(cudaEventRecord(end, stream), device_, "timing matrix products");
    cuda::Check(cudaEventSynchronize(end), device_, "timing matrix products");
    float milliseconds = 0;
    cuda::Check(cudaEventElapsedTime(&milliseconds, begin, end), device_, "timing matrix products");
    if (best >= 0 && milliseconds >= best) continue;
    best = milliseconds;
    plan.algorithm = candidate.algo;
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  plan.usable = best >= 0;
}

// The results are right all the same, but no figure of speed would tell why it is low.
void MatrixProducts::WarnOfPlain(const ProductShape& shape, cublasStatus_t status) {
  constexpr double kSmall = 1e8;  // operations
  const bool expected = status == CUBLAS_STATUS_SUCCESS || status == CUBLAS_STATUS_NOT_SUPPORTED;
  const double work = 2.0 * static_cast<double>(shape.m) * static_cast<double>(shape.n) * static_cast<double>(shape.k);
  if (warned_ || (expected && work < kSmall)) return;
  warned_ = true;
  spdlog::warn(
      "cuda:{}, matmul {}: {} and has no algorithm that works; a plain kernel computes it, many times slower. Others "
      "like it are not told",
      device_, shape.ToString(), Said(status));
}

bool MatrixProducts::Choose(const Context& context, const ProductShape& shape, const Operands& operands, Plan& plan) {
  const Queue& queue = QueueOf(context);
  if (queue.times_products) {
    if (const auto known = cache_->Find(shape.ToString()); known.has_value()) {
      std::memcpy(&plan.algorithm, known->data(), sizeof(plan.algorithm));
      cublasLtMatmulHeuristicResult_t result;
      plan.usable = cublasLtMatmulAlgoCheck(library_, plan.description, plan.b, plan.a, plan.c, plan.c, &plan.algorithm,
                                            &result) == CUBLAS_STATUS_SUCCESS &&
                    result.workspaceSize <= kWorkspace;
      if (plan.usable) return true;
    }
  }
  cublasLtMatmulPreference_t preference = nullptr;
  Check(cublasLtMatmulPreferenceCreate(&preference), shape.ToString());
  Set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kWorkspace);
  // Parts of a sum are added in f32, never in the output's bf16.
  Set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
  Set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, static_cast<uint32_t>(shape.align_b));
  Set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, static_cast<uint32_t>(shape.align_a));
  Set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, static_cast<uint32_t>(shape.align_c));
  Set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, static_cast<uint32_t>(shape.align_c));
  std::vector<cublasLtMatmulHeuristicResult_t> candidates(kCandidates);
  int found = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
      library_, plan.description, plan.b, plan.a, plan.c, plan.c, preference, kCandidates, candidates.data(), &found);
  cublasLtMatmulPreferenceDestroy(preference);
  candidates.resize(status == CUBLAS_STATUS_SUCCESS ? found : 0);
  std::erase_if(candidates, [](const auto& candidate) { return candidate.state != CUBLAS_STATUS_SUCCESS; });
  if (candidates.empty()) {
    WarnOfPlain(shape, status);
    return false;
  }
  plan.algorithm = candidates[0].algo;
  plan.usable = true;
  if (!queue.times_products || queue.recording) return true;
  TakeFastest(context, shape, operands, candidates, plan);
  if (plan.usable) {
    cache_->Add(shape.ToString(), Words(plan.algorithm));
  } else {
    WarnOfPlain(shape, CUBLAS_STATUS_EXECUTION_FAILED);
  }
  return plan.usable;
}

bool MatrixProducts::Multiply(const Context& context, const Tensor& a, bool transpose_a, const Tensor& b,
                              bool transpose_b, const Tensor& bias, float beta, const Tensor& c) {
  Open();
  const ProductShape shape = {.m = c.dim(0),
                              .n = c.dim(1),
                              .k = a.dim(transpose_a ? 0 : 1),
                              .lda = a.stride(0),
                              .ldb = b.stride(0),
                              .ldc = c.stride(0),
                              .transpose_a = transpose_a,
                              .transpose_b = transpose_b,
                              .has_bias = bias.defined(),
                              .accumulate = beta == 1,
                              .in = a.dtype(),
                              .out = c.dtype(),
                              .align_a = Alignment(a.raw()),
                              .align_b = Alignment(b.raw()),
                              .align_c = Alignment(c.raw())};
  const Operands operands = {a.raw(), b.raw(), bias.defined() ? bias.raw() : nullptr, c.raw()};
  if (plans_.size() >= kCapacity) plans_.clear();
  std::unique_ptr<Plan>& plan = plans_[shape];
  if (plan == nullptr) {
    plan = MakePlan(shape);
    if (bias.defined()) Set(plan->description, CUBLASLT_MATMUL_DESC_BIAS_POINTER, operands.bias);
    Choose(context, shape, operands, *plan);
  }
  if (!plan->usable) return false;
  Check(Run(context, *plan, plan->algorithm, operands), shape.ToString());
  return true;
}

}  // namespace photon::cuda
