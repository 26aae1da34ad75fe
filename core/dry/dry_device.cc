#include "core/dry/dry_device.h"

#include <atomic>
#include <cstring>
#include <memory>
#include <tuple>
#include <type_traits>

#include "core/check.h"
#include "core/constant_string.h"
#include "core/dry/cost.h"
#include "core/dry/likeness.h"
#include "core/time.h"

namespace photon::dry {
namespace {

// FNV-1a over words.
class Signature {
 public:
  explicit Signature(absl::string_view name) {
    for (const char c : name) Add(c);
  }
  void Add(const Tensor& t) {
    Add(t.defined());
    if (!t.defined()) return;
    Add(t.dtype());
    for (int d = 0; d < t.rank(); ++d) {
      Add(t.dim(d));
      Add(t.stride(d));
    }
  }
  void Add(const ops::AttentionShape& s) {
    for (const int64_t n : {s.batch, s.length, s.keys, s.offset, int64_t{s.heads}, int64_t{s.kv_heads}, s.head_dim}) {
      Add(n);
    }
    Add(s.first_key);
  }
  template <typename T>
  void Add(const T& value) {
    if constexpr (std::is_arithmetic_v<T> || std::is_enum_v<T>) {
      Mix(static_cast<uint64_t>(value));
    }
  }
  uint64_t value() const { return value_; }

 private:
  void Mix(uint64_t word) { value_ = (value_ ^ word) * 0x100000001b3u; }
  uint64_t value_ = 0xcbf29ce484222325u;
};

DType FirstType(const Tensor& t) { return t.dtype(); }
template <typename T>
DType FirstType(const T&) {
  return DType::kF32;
}

// Seconds of one operation among several in a row: caches and branch predictors as a step leaves them.
template <auto kEntry, typename... Arguments>
double Measure(const Context& context, const Arguments&... arguments) {
  constexpr double kBudget = 0.02;  // seconds
  constexpr int kMost = 20;
  Likeness likeness(context);
  (likeness.Look(arguments), ...);
  const std::tuple operands{likeness.Of(arguments)...};
  const auto run = [&] {
    std::apply([&](const auto&... like) { (context.backend().*kEntry)(context, like...); }, operands);
    context.Synchronize();
  };
  run();
  double best = 1e30;
  const double began = Now();
  for (int i = 0; i < 2 || (i < kMost && Now() - began < kBudget); ++i) {
    const double start = Now();
    run();
    best = std::min(best, Now() - start);
  }
  return best;
}

template <ConstantString kName, auto kEntry, typename First, typename... Arguments>
void Run(const Context& context, First first, Arguments... arguments) {
  Signature signature(kName.chars);
  signature.Add(first);
  (signature.Add(arguments), ...);
  const auto measure = [&](const Context& real) { return Measure<kEntry>(real, first, arguments...); };
  Operation operation{
      .name = kName.chars, .dtype = FirstType(first), .signature = signature.value(), .measure = measure};
  Cost<kEntry>::Add(&operation, first, arguments...);
  static_cast<const DryBackend&>(context.backend()).listener().Did(operation);
}

// Copies between host and device are no operations of a table that could be timed on other operands.
void CopyToHost(const Context&, const Tensor& tensor, void* host) { std::memset(host, 0, tensor.bytes()); }
void CopyFromHost(const Context&, const void*, const Tensor&) {}
void Synchronize(const Context&) {}

Backend DryTable() {
  using B = Backend;
  return {
      .copy_to_host = CopyToHost,
      .copy_from_host = CopyFromHost,
      .synchronize = Synchronize,
      .zero = Run<"zero", &B::zero>,
      .matmul = Run<"matmul", &B::matmul>,
      .cast = Run<"cast", &B::cast>,
      .add = Run<"add", &B::add>,
      .sum_rows = Run<"sum_rows", &B::sum_rows>,
      .select_rows = Run<"select_rows", &B::select_rows>,
      .select_rows_gradient = Run<"select_rows_gradient", &B::select_rows_gradient>,
      .gather_rows = Run<"gather_rows", &B::gather_rows>,
      .scatter_rows = Run<"scatter_rows", &B::scatter_rows>,
      .rms_norm_forward = Run<"rms_norm_forward", &B::rms_norm_forward>,
      .rms_norm_backward = Run<"rms_norm_backward", &B::rms_norm_backward>,
      .rope = Run<"rope", &B::rope>,
      .attention_forward = Run<"attention_forward", &B::attention_forward>,
      .attention_backward = Run<"attention_backward", &B::attention_backward>,
      .append_to_caches = Run<"append_to_caches", &B::append_to_caches>,
      .copy_cache = Run<"copy_cache", &B::copy_cache>,
      .cached_attention = Run<"cached_attention", &B::cached_attention>,
      .swiglu_forward = Run<"swiglu_forward", &B::swiglu_forward>,
      .swiglu_backward = Run<"swiglu_backward", &B::swiglu_backward>,
      .cross_entropy = Run<"cross_entropy", &B::cross_entropy>,
      .vocabulary_statistics = Run<"vocabulary_statistics", &B::vocabulary_statistics>,
      .split_cross_entropy = Run<"split_cross_entropy", &B::split_cross_entropy>,
      .cosine = Run<"cosine", &B::cosine>,
      .sample_rows = Run<"sample_rows", &B::sample_rows>,
      .sum_squares = Run<"sum_squares", &B::sum_squares>,
      .accumulate_sum = Run<"accumulate_sum", &B::accumulate_sum>,
      .clip = Run<"clip", &B::clip>,
      .adamw = Run<"adamw", &B::adamw>,
      .count_non_finite = Run<"count_non_finite", &B::count_non_finite>,
  };
}

// Addresses that no process has: above what x86-64 and AArch64 give to user space. Never the same twice.
Arena::SlabSource DrySlabs() {
  const auto next = std::make_shared<std::atomic<uintptr_t>>(uintptr_t{1} << 56);
  return {.take = [next](size_t bytes) { return reinterpret_cast<void*>(next->fetch_add(bytes)); },  // NOLINT
          .give_back = [](void*, size_t) {}};
}

}  // namespace

DryBackend::DryBackend(Listener& listener) : Backend(DryTable()), listener_(listener) {}

DryDevice::DryDevice(size_t memory, Listener& listener) : memory_(memory), backend_(listener), allocator_(DrySlabs()) {}

Context DryDevice::MakeContext(Profiler* profiler) {
  return Context(device(), backend_, allocator_, /*stream=*/nullptr, profiler);
}

std::unique_ptr<DeviceGraph> DryDevice::Record(const Context&, const std::function<void()>&) {
  PHOTON_CHECK(false) << "[record] a dry device records no operations";
  return nullptr;
}

}  // namespace photon::dry
