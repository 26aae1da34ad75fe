// Matrix products: own kernels for few rows, oneDNN for the other f32 and bf16 ones, a plain loop for f64.
#include <algorithm>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <unordered_map>

#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "core/cpu/kernels.h"
#include "core/cpu/matvec.h"
#include "core/cpu/parallel_for.h"
#include "core/cpu/simd.h"

namespace photon::cpu {
namespace {

// Everything a oneDNN primitive is specialised on.
struct Product {
  int64_t m, k, n;
  int64_t lda, ldb, ldc;
  bool transpose_a, transpose_b, has_bias, accumulate;
  DType in, out;
  int threads;  // oneDNN cuts the work when a primitive is created, not when it runs

  friend bool operator==(const Product&, const Product&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const Product& p) {
    return H::combine(std::move(h), p.m, p.k, p.n, p.lda, p.ldb, p.ldc, p.transpose_a, p.transpose_b, p.has_bias,
                      p.accumulate, p.in, p.out, p.threads);
  }
};

struct Primitive {
  dnnl::matmul::primitive_desc description;
  dnnl::matmul matmul;
};

dnnl::memory::data_type DnnlType(DType dtype) {
  return dtype == DType::kBF16 ? dnnl::memory::data_type::bf16 : dnnl::memory::data_type::f32;
}

// Plain strided layouts. Packing the weights first gains 3-15 % on large products, and costs a copy of them.
dnnl::memory::desc Matrix(int64_t rows, int64_t columns, int64_t stride, bool transposed, DType dtype) {
  const dnnl::memory::dims strides = transposed ? dnnl::memory::dims{1, stride} : dnnl::memory::dims{stride, 1};
  return dnnl::memory::desc({rows, columns}, DnnlType(dtype), strides);
}

Primitive Create(const dnnl::engine& engine, const Product& p) {
  const auto a = Matrix(p.m, p.k, p.lda, p.transpose_a, p.in);
  const auto b = Matrix(p.k, p.n, p.ldb, p.transpose_b, p.in);
  const auto c = Matrix(p.m, p.n, p.ldc, false, p.out);
  const auto bias = Matrix(1, p.n, p.n, false, DType::kF32);
  dnnl::primitive_attr attributes;
  // oneDNN's own scratchpad belongs to the thread that created the primitive: not to be used from another.
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (p.accumulate) {
    dnnl::post_ops add_to_c;
    add_to_c.append_sum(1.0f);
    attributes.set_post_ops(add_to_c);
  }
  using Description = dnnl::matmul::primitive_desc;
#if DNNL_VERSION_MAJOR >= 3
  const Description description =
      p.has_bias ? Description(engine, a, b, bias, c, attributes) : Description(engine, a, b, c, attributes);
#else
  using Operation = dnnl::matmul::desc;
  const Description description(p.has_bias ? Operation(a, b, bias, c) : Operation(a, b, c), attributes, engine);
#endif
  return {description, dnnl::matmul(description)};
}

// The process's primitives: creating one takes 0.1 ms, as long as a product of 64 million multiplications. Thread-safe.
class PrimitiveCache {
 public:
  static PrimitiveCache& Get() {
    static PrimitiveCache* const cache = new PrimitiveCache;  // never destroyed: threads may outlive main()
    return *cache;
  }

  const dnnl::engine& engine() const { return engine_; }

  std::shared_ptr<const Primitive> Find(const Product& product) {
    absl::MutexLock lock(&mutex_);
    if (const auto found = primitives_.find(product); found != primitives_.end()) return found->second;
    if (primitives_.size() >= kCapacity) primitives_.clear();  // a server meets ever new batch sizes
    return primitives_[product] = std::make_shared<const Primitive>(Create(engine_, product));
  }

 private:
  static constexpr size_t kCapacity = 1024;

  const dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  absl::Mutex mutex_;
  absl::flat_hash_map<Product, std::shared_ptr<const Primitive>> primitives_;
};

bool OneDnnHasTiles() {
  // Each instruction set has its own bits and those of all that it includes.
  constexpr auto kTiles = static_cast<unsigned>(dnnl::cpu_isa::avx512_core_amx);
  static const bool has = (static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & kTiles) == kTiles;
  return has;
}

void DnnlMatMul(const Context& context, const Product& product, const Tensor& a, const Tensor& b, const Tensor& bias,
                const Tensor& c) {
  PrimitiveCache& cache = PrimitiveCache::Get();
  const std::shared_ptr<const Primitive> primitive = cache.Find(product);
  const dnnl::matmul::primitive_desc& description = primitive->description;
  const auto memory = [&](const dnnl::memory::desc& layout, const Tensor& t) {
    return dnnl::memory(layout, cache.engine(), t.raw());
  };
  const int64_t scratch_bytes = description.scratchpad_desc().get_size();
  const Tensor scratchpad = context.Empty({scratch_bytes}, DType::kU8);
  std::unordered_map<int, dnnl::memory> arguments = {
      {DNNL_ARG_SRC, memory(description.src_desc(), a)},
      {DNNL_ARG_WEIGHTS, memory(description.weights_desc(), b)},
      {DNNL_ARG_DST, memory(description.dst_desc(), c)},
      {DNNL_ARG_SCRATCHPAD, memory(description.scratchpad_desc(), scratchpad)},
  };
  if (product.has_bias) arguments.emplace(DNNL_ARG_BIAS, memory(description.bias_desc(), bias));
  dnnl::stream stream(cache.engine());
  primitive->matmul.execute(stream, arguments);
  stream.wait();
}

Tensor Transposed(const Context& context, const Tensor& t) {
  const Tensor out = context.Empty({t.dim(1), t.dim(0)}, DType::kF64);
  for (int64_t i = 0; i < t.dim(0); ++i) {
    for (int64_t j = 0; j < t.dim(1); ++j) out.data<double>()[j * t.dim(0) + i] = t.data<double>()[i * t.stride(0) + j];
  }
  return out;
}

// A row of C before the products are added: bias + beta C.
template <typename T>
void StartRow(const Tensor& bias, float beta, int64_t n, T* c) {
  using A = AccumulateType<T>;
  for (int64_t j = 0; j < n; ++j) {
    c[j] = T((beta == 0 ? A(0) : static_cast<A>(c[j])) + (bias.defined() ? bias.data<A>()[j] : A(0)));
  }
}

// For gradient checks: exact enough and fast enough, no more.
void DoubleMatMul(const Context& context, const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b,
                  const Tensor& bias, float beta, const Tensor& c) {
  const int64_t n = c.dim(1);
  const Tensor rows_of_a = transpose_a ? Transposed(context, a) : a;
  const Tensor rows_of_b = transpose_b ? Transposed(context, b) : b;
  const int64_t k = rows_of_b.dim(0);
  const int64_t work_per_row = std::max<int64_t>(n * k, 1);
  ParallelFor(c.dim(0), 20'000 / work_per_row, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      double* row = c.data<double>() + i * c.stride(0);
      StartRow(bias, beta, n, row);
      const double* f = rows_of_a.data<double>() + i * rows_of_a.stride(0);
      const double* b0 = rows_of_b.data<double>();
      const int64_t stride = rows_of_b.stride(0);
      int64_t l = 0;
      for (; l + 4 <= k; l += 4, f += 4, b0 += 4 * stride) {  // a sum read and written once for four products
        const double *b1 = b0 + stride, *b2 = b1 + stride, *b3 = b2 + stride;
        for (int64_t j = 0; j < n; ++j) {
          row[j] = row[j] + f[0] * b0[j] + f[1] * b1[j] + f[2] * b2[j] + f[3] * b3[j];
        }
      }
      for (; l < k; ++l, ++f, b0 += stride) {
        for (int64_t j = 0; j < n; ++j) row[j] += f[0] * b0[j];
      }
    }
  });
}

// C of one row or one column, whose operands' strides oneDNN 3.7 takes wrongly where they are not 1.
template <typename In, typename Out>
void VectorMatMul(const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b, const Tensor& bias, float beta,
                  const Tensor& c) {
  const int64_t m = c.dim(0), n = c.dim(1), k = a.dim(transpose_a ? 0 : 1);
  const int64_t a_row = transpose_a ? 1 : a.stride(0), a_step = transpose_a ? a.stride(0) : 1;
  const int64_t b_step = transpose_b ? 1 : b.stride(0), b_column = transpose_b ? b.stride(0) : 1;
  ParallelFor(m * n, 20'000 / std::max<int64_t>(k, 1), [&](int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; ++at) {
      const int64_t i = at / n, j = at % n;
      const In *x = a.data<In>() + i * a_row, *y = b.data<In>() + j * b_column;
      Out& out = c.data<Out>()[i * c.stride(0) + j];
      float sum = 0;
      for (int64_t l = 0; l < k; ++l) sum += static_cast<float>(x[l * a_step]) * static_cast<float>(y[l * b_step]);
      if (bias.defined()) sum += bias.data<float>()[j];
      out = Out(beta == 0 ? sum : sum + static_cast<float>(out));
    }
  });
}

}  // namespace

int64_t MostFewRows(DType dtype) { return dtype == DType::kBF16 && kHasBf16Products && !OneDnnHasTiles() ? 128 : 16; }

void MatMul(const Context& context, const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b,
            const Tensor& bias, float beta, const Tensor& c) {
  const int64_t m = c.dim(0);
  const int64_t n = c.dim(1);
  const int64_t k = a.dim(transpose_a ? 0 : 1);
  if (m == 0 || n == 0) return;
  if (a.dtype() == DType::kF64) {
    DoubleMatMul(context, a, transpose_a, b, transpose_b, bias, beta, c);
    return;
  }
  if (k == 0) {  // an empty sum; oneDNN leaves C as it was
    VisitFloat(c.dtype(), [&](auto tag) {
      for (int64_t i = 0; i < m; ++i) StartRow(bias, beta, n, c.data<decltype(tag)>() + i * c.stride(0));
    });
    return;
  }
  if ((m <= MostFewRows(a.dtype()) || context.batch_invariant()) && !transpose_a && transpose_b) {
    MultiplyRows(a, b, bias, beta, c);
    return;
  }
  if (m == 1 || n == 1) {
    VisitFloat(a.dtype(), [&](auto in) {
      VisitFloat(c.dtype(), [&](auto out) {
        VectorMatMul<decltype(in), decltype(out)>(a, transpose_a, b, transpose_b, bias, beta, c);
      });
    });
    return;
  }
  const Product product = {.m = m,
                           .k = k,
                           .n = n,
                           .lda = a.stride(0),
                           .ldb = b.stride(0),
                           .ldc = c.stride(0),
                           .transpose_a = transpose_a,
                           .transpose_b = transpose_b,
                           .has_bias = bias.defined(),
                           .accumulate = beta == 1,
                           .in = a.dtype(),
                           .out = c.dtype(),
                           .threads = omp_get_max_threads()};
  DnnlMatMul(context, product, a, b, bias, c);
}

}  // namespace photon::cpu
