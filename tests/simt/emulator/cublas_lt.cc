#include <cublasLt.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "core/dtype.h"
#include "tests/simt/emulator/stream.h"

struct cublasLtContext {};
struct cublasLtMatrixLayoutOpaque {
  cudaDataType_t type;
  uint64_t rows, columns;
  int64_t ld;
  int32_t order = CUBLASLT_ORDER_COL;
};
struct cublasLtMatmulDescOpaque {
  cublasComputeType_t compute;
  cudaDataType_t scale;
  int32_t transpose_a = CUBLAS_OP_N, transpose_b = CUBLAS_OP_N;
  uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;
  int32_t bias_type = -1;  // D's
};
struct cublasLtMatmulPreferenceOpaque {
  uint64_t workspace = 0;
  uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_MASK;
  uint32_t alignment_a = 256, alignment_b = 256, alignment_c = 256, alignment_d = 256;
};

namespace {

using Layout = cublasLtMatrixLayoutOpaque;
using Description = cublasLtMatmulDescOpaque;

template <typename T>
cublasStatus_t Set(T* field, const void* value, size_t bytes) {
  if (value == nullptr || bytes != sizeof(T)) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(field, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

size_t ElementBytes(cudaDataType_t type) { return type == CUDA_R_64F ? 8 : type == CUDA_R_32F ? 4 : 2; }

// What an algorithm's words mean here.
struct Algorithm {
  uint64_t magic, halves;
  uint32_t alignment_a, alignment_b, alignment_c, alignment_d;
  uint64_t unused[4];
};
static_assert(sizeof(Algorithm) == sizeof(cublasLtMatmulAlgo_t));
constexpr uint64_t kMagic = 0x70686f746f6e;

struct Problem {
  Description description;
  Layout a, b, c, d;
  int64_t m() const { return d.rows; }
  int64_t n() const { return d.columns; }
  int64_t k() const { return description.transpose_a == CUBLAS_OP_N ? a.columns : a.rows; }
};

// The library's table of types: products of bf16 or f32 in f32, of f64 in f64, which takes no epilogue.
bool TypesSupported(const Problem& p) {
  const cudaDataType_t in = p.a.type, out = p.d.type;
  if (p.b.type != in || p.c.type != out) return false;
  const bool biased = p.description.epilogue == CUBLASLT_EPILOGUE_BIAS;
  if (p.description.compute == CUBLAS_COMPUTE_64F) {
    return p.description.scale == CUDA_R_64F && in == CUDA_R_64F && out == CUDA_R_64F && !biased;
  }
  if (p.description.scale != CUDA_R_32F) return false;
  if (biased && p.description.bias_type != -1 && p.description.bias_type != static_cast<int32_t>(out)) return false;
  return (in == CUDA_R_16BF && (out == CUDA_R_16BF || out == CUDA_R_32F)) || (in == CUDA_R_32F && out == CUDA_R_32F);
}

bool LayoutValid(const Layout& layout) {
  const uint64_t line = layout.order == CUBLASLT_ORDER_COL ? layout.rows : layout.columns;
  return layout.rows > 0 && layout.columns > 0 && layout.ld >= static_cast<int64_t>(line);
}

cublasStatus_t CheckProblem(const Problem& p) {
  if (!LayoutValid(p.a) || !LayoutValid(p.b) || !LayoutValid(p.c) || !LayoutValid(p.d)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  const bool ta = p.description.transpose_a != CUBLAS_OP_N, tb = p.description.transpose_b != CUBLAS_OP_N;
  const uint64_t k = p.k();
  if ((ta ? p.a.columns : p.a.rows) != p.d.rows || (tb ? p.b.columns : p.b.rows) != k ||
      (tb ? p.b.rows : p.b.columns) != p.d.columns || p.c.rows != p.d.rows || p.c.columns != p.d.columns) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  if (p.description.epilogue != CUBLASLT_EPILOGUE_DEFAULT && p.description.epilogue != CUBLASLT_EPILOGUE_BIAS) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  return TypesSupported(p) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

size_t WorkspaceOf(const Problem& p, const Algorithm& algorithm) {
  return algorithm.halves > 1 ? algorithm.halves * p.m() * p.n() * 4 : 0;
}

size_t Index(const Layout& layout, int64_t row, int64_t column) {
  return layout.order == CUBLASLT_ORDER_COL ? column * layout.ld + row : row * layout.ld + column;
}

template <typename A>
A Read(const void* data, cudaDataType_t type, size_t i) {
  switch (type) {
    case CUDA_R_64F:
      return static_cast<A>(static_cast<const double*>(data)[i]);
    case CUDA_R_32F:
      return static_cast<A>(static_cast<const float*>(data)[i]);
    default:
      return static_cast<A>(static_cast<float>(static_cast<const photon::BFloat16*>(data)[i]));
  }
}

template <typename A>
void Write(void* data, cudaDataType_t type, size_t i, A value) {
  switch (type) {
    case CUDA_R_64F:
      static_cast<double*>(data)[i] = value;
      break;
    case CUDA_R_32F:
      static_cast<float*>(data)[i] = static_cast<float>(value);
      break;
    default:
      static_cast<photon::BFloat16*>(data)[i] = photon::BFloat16(static_cast<float>(value));
  }
}

// A matrix in the type of the sums, column by column.
template <typename A>
std::vector<A> Unpacked(const void* data, const Layout& layout, bool transpose, int64_t rows, int64_t columns) {
  std::vector<A> values(rows * columns);
  for (int64_t j = 0; j < columns; ++j) {
    for (int64_t i = 0; i < rows; ++i) {
      values[j * rows + i] = Read<A>(data, layout.type, transpose ? Index(layout, j, i) : Index(layout, i, j));
    }
  }
  return values;
}

template <typename A>
void Multiply(const Problem& p, A alpha, const void* a_data, const void* b_data, A beta, const void* c, void* d,
              int64_t halves) {
  const int64_t m = p.m(), n = p.n(), k = p.k();
  const std::vector<A> a = Unpacked<A>(a_data, p.a, p.description.transpose_a != CUBLAS_OP_N, m, k);
  const std::vector<A> b = Unpacked<A>(b_data, p.b, p.description.transpose_b != CUBLAS_OP_N, k, n);
  const int64_t part = (k + halves - 1) / halves;
  std::vector<A> column(m), sums(m);
  for (int64_t j = 0; j < n; ++j) {
    std::fill(column.begin(), column.end(), A(0));
    for (int64_t begin = 0; begin < k; begin += part) {
      std::fill(sums.begin(), sums.end(), A(0));
      for (int64_t l = begin; l < std::min(k, begin + part); ++l) {
        const A factor = b[j * k + l];
        for (int64_t i = 0; i < m; ++i) sums[i] += a[l * m + i] * factor;
      }
      for (int64_t i = 0; i < m; ++i) column[i] += sums[i];
    }
    for (int64_t i = 0; i < m; ++i) {
      A value = alpha * column[i];
      if (beta != 0) value += beta * Read<A>(c, p.c.type, Index(p.c, i, j));
      if (p.description.epilogue == CUBLASLT_EPILOGUE_BIAS) value += Read<A>(p.description.bias, p.d.type, i);
      Write<A>(d, p.d.type, Index(p.d, i, j), value);
    }
  }
}

bool Aligned(const void* data, size_t bytes) { return reinterpret_cast<uintptr_t>(data) % bytes == 0; }

}  // namespace

size_t cublasLtGetVersion() { return 130000; }

const char* cublasLtGetStatusName(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "CUBLAS_STATUS_EXECUTION_FAILED";
    default:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
  }
}
const char* cublasLtGetStatusString(cublasStatus_t status) { return cublasLtGetStatusName(status); }

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = new cublasLtContext;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType_t type, uint64_t rows,
                                          uint64_t columns, int64_t ld) {
  *layout = new cublasLtMatrixLayoutOpaque{type, rows, columns, ld};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout,
                                                cublasLtMatrixLayoutAttribute_t attribute, const void* value,
                                                size_t bytes) {
  switch (attribute) {
    case CUBLASLT_MATRIX_LAYOUT_TYPE:
      return Set(&layout->type, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_ORDER:
      return Set(&layout->order, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_ROWS:
      return Set(&layout->rows, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_COLS:
      return Set(&layout->columns, value, bytes);
    case CUBLASLT_MATRIX_LAYOUT_LD:
      return Set(&layout->ld, value, bytes);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete layout;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* description, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
  *description = new cublasLtMatmulDescOpaque{compute, scale};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t description,
                                              cublasLtMatmulDescAttributes_t attribute, const void* value,
                                              size_t bytes) {
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return Set(&description->transpose_a, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return Set(&description->transpose_b, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      return Set(&description->epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      return Set(&description->bias, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
      return Set(&description->bias_type, value, bytes);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t description) {
  delete description;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = new cublasLtMatmulPreferenceOpaque;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute, const void* value,
                                                    size_t bytes) {
  switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
      return Set(&preference->workspace, value, bytes);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
      return Set(&preference->reductions, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
      return Set(&preference->alignment_a, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
      return Set(&preference->alignment_b, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
      return Set(&preference->alignment_c, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
      return Set(&preference->alignment_d, value, bytes);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete preference;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t description,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t* results, int* found) {
  *found = 0;
  const Problem problem = {*description, *a, *b, *c, *d};
  if (const cublasStatus_t status = CheckProblem(problem); status != CUBLAS_STATUS_SUCCESS) return status;
  // Elements that aren't aligned to their own size can't be had.
  const size_t in = ElementBytes(a->type), out = ElementBytes(d->type);
  if (preference->alignment_a < in || preference->alignment_b < in || preference->alignment_c < out ||
      preference->alignment_d < out) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  for (uint64_t halves : {1, 2}) {
    const Algorithm algorithm = {kMagic,
                                 halves,
                                 preference->alignment_a,
                                 preference->alignment_b,
                                 preference->alignment_c,
                                 preference->alignment_d,
                                 {}};
    const size_t workspace = WorkspaceOf(problem, algorithm);
    if (halves > 1 &&
        (workspace > preference->workspace || (preference->reductions & CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE) == 0)) {
      continue;
    }
    if (*found == wanted) break;
    cublasLtMatmulHeuristicResult_t& result = results[(*found)++];
    result = {};
    std::memcpy(&result.algo, &algorithm, sizeof(algorithm));
    result.workspaceSize = workspace;
    result.state = CUBLAS_STATUS_SUCCESS;
    result.wavesCount = 1;
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t, cublasLtMatmulDesc_t description, cublasLtMatrixLayout_t a,
                                       cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                       const cublasLtMatmulAlgo_t* algorithm, cublasLtMatmulHeuristicResult_t* result) {
  const Problem problem = {*description, *a, *b, *c, *d};
  if (const cublasStatus_t status = CheckProblem(problem); status != CUBLAS_STATUS_SUCCESS) return status;
  Algorithm words;
  std::memcpy(&words, algorithm, sizeof(words));
  if (words.magic != kMagic || words.halves < 1 || words.halves > 2) return CUBLAS_STATUS_INVALID_VALUE;
  *result = {*algorithm, WorkspaceOf(problem, words), CUBLAS_STATUS_SUCCESS, 1, {}};
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t description, const void* alpha,
                              const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                              cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,
                              cublasLtMatrixLayout_t c_layout, void* d, cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t* algorithm, void* workspace, size_t workspace_bytes,
                              cudaStream_t stream) {
  if (handle == nullptr) return CUBLAS_STATUS_NOT_INITIALIZED;
  const Problem problem = {*description, *a_layout, *b_layout, *c_layout, *d_layout};
  if (const cublasStatus_t status = CheckProblem(problem); status != CUBLAS_STATUS_SUCCESS) return status;
  Algorithm words = {kMagic, 1, 1, 1, 1, 1, {}};
  if (algorithm != nullptr) std::memcpy(&words, algorithm, sizeof(words));
  if (words.magic != kMagic) return CUBLAS_STATUS_INVALID_VALUE;
  if (!Aligned(a, words.alignment_a) || !Aligned(b, words.alignment_b) || !Aligned(c, words.alignment_c) ||
      !Aligned(d, words.alignment_d) || !Aligned(workspace, 16)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  if (WorkspaceOf(problem, words) > workspace_bytes) return CUBLAS_STATUS_INVALID_VALUE;
  if (problem.description.epilogue == CUBLASLT_EPILOGUE_BIAS && problem.description.bias == nullptr) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  const bool is_double = problem.description.compute == CUBLAS_COMPUTE_64F;
  const double factors[2] = {Read<double>(alpha, is_double ? CUDA_R_64F : CUDA_R_32F, 0),
                             Read<double>(beta, is_double ? CUDA_R_64F : CUDA_R_32F, 0)};
  const cudaError_t error = photon::simt::Queue(stream, [=, alpha = factors[0], beta = factors[1]] {
    const auto halves = static_cast<int64_t>(words.halves);
    // What another algorithm left there can't be counted on.
    if (workspace != nullptr) std::memset(workspace, 0xff, WorkspaceOf(problem, words));
    if (is_double) {
      Multiply<double>(problem, alpha, a, b, beta, c, d, halves);
    } else {
      Multiply<float>(problem, static_cast<float>(alpha), a, b, static_cast<float>(beta), c, d, halves);
    }
  });
  return error == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}
