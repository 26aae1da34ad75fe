// Tokens chosen from rows of logits (core/ops/sample.h), one block a row, nothing sorted. Bytes: the logits read once,
// the floor, and up to four times more from the second-level cache: a row's largest, (the sum of exponentials,) a
// histogram of what the first cut wants, and the few that it leaves, in two passes, which everything after works on.
#include <cmath>
#include <limits>

#include "core/cuda/kernels.h"
#include "core/cuda/launch.h"
#include "core/cuda/sample_search.h"
#include "core/random.h"

namespace photon::cuda {
namespace {

constexpr int kMostThreads = 1024;
constexpr int kList = 1024;  // candidates that shared memory holds
constexpr uint64_t kAll = ~uint64_t{0};
constexpr float kNever = -std::numeric_limits<float>::infinity();

struct Parameters {
  const double* settings;
  const int32_t* top_k;
  const int64_t* streams;
  const int64_t* index;
};

// The candidates of a row: all, or those that a first cut left, by rising id.
template <typename T>
struct CandidateSet {
  const T* row;
  const Candidate* list;  // null: the row itself
  int count;

  __device__ __forceinline__ int size() const { return count; }
  // NaN as minus infinity, -0 as +0.
  __device__ __forceinline__ Candidate operator[](int i) const {
    if (list != nullptr) return list[i];
    const float logit = static_cast<float>(row[i]);
    return {logit == logit ? logit + 0.0f : kNever, i};
  }
};

// What the cuts so far leave.
struct Cuts {
  float largest, inverse_temperature;
  float least = kNever;                    // logits
  uint32_t last_bin = kBins - 1;           // of LikelyKey
  uint64_t likely = kAll, typical = kAll;  // borders
  float mean = 0;                          // of Scaled(), over what typical-p chooses from

  __device__ __forceinline__ float Scaled(const Candidate& c) const {
    return (c.logit - largest) * inverse_temperature;
  }
  __device__ __forceinline__ float Weight(const Candidate& c) const {
    return Exp2(Scaled(c) * 1.44269504088896340736f);
  }
  __device__ __forceinline__ uint32_t LikelyBin(const Candidate& c) const {
    return DistanceBin(largest - c.logit, min(inverse_temperature, 1.0f));
  }
  __device__ __forceinline__ uint64_t LikelyKey(const Candidate& c) const {
    return OrderKey(LikelyBin(c), ~RisingBits(c.logit), c.id);
  }
  __device__ __forceinline__ uint64_t TypicalKey(const Candidate& c) const {
    const float distance = fabsf(mean - Scaled(c));
    return OrderKey(DistanceBin(distance, 1), RisingBits(distance), c.id);
  }
  __device__ __forceinline__ bool Leave(const Candidate& c) const {
    return c.logit >= least && c.logit > kNever && LikelyBin(c) <= last_bin &&
           (likely == kAll || LikelyKey(c) <= likely) && (typical == kAll || TypicalKey(c) <= typical);
  }
  __device__ __forceinline__ uint64_t MassOf(const Candidate& c) const { return Leave(c) ? Mass(Weight(c)) : 0; }
};

// The share p of all.
struct Share {
  double p;
  __device__ __forceinline__ uint64_t operator()(uint64_t all) const {
    const auto wanted = static_cast<uint64_t>(ceil(p * static_cast<double>(all)));
    return max(uint64_t{1}, min(wanted, all));
  }
};

struct Exactly {
  uint64_t wanted;
  __device__ __forceinline__ uint64_t operator()(uint64_t) const { return wanted; }
};

// Lists what the cuts leave of the row, by rising id, where the list holds them; else the set stays the row.
template <typename T>
__device__ void ListWhatIsLeft(const Cuts& cuts, CandidateSet<T>& set, Candidate* list, SearchSpace& space) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  const int per_warp = ((set.size() + warps - 1) / warps + kWarp - 1) / kWarp * kWarp;
  const int begin = min(warp * per_warp, set.size()), end = min(begin + per_warp, set.size());
  int own = 0;
#pragma unroll 4
  for (int i = begin + lane; i < end; i += kWarp) own += cuts.Leave(set[i]) ? 1 : 0;
  own = WarpSum(own);
  __syncthreads();
  if (lane == 0) space.numbers[warp] = own;
  __syncthreads();
  int next = 0, all = 0;
  for (int w = 0; w < warps; ++w) {
    if (w == warp) next = all;
    all += space.numbers[w];
  }
  if (all > kList) return;
#pragma unroll 4
  for (int i = begin; i < end; i += kWarp) {
    const Candidate c = i + lane < end ? set[i + lane] : Candidate{kNever, 0};
    const bool stays = i + lane < end && cuts.Leave(c);
    const unsigned staying = __ballot_sync(kAllLanes, stays);
    if (stays) list[next + __popc(staying & ((1u << lane) - 1))] = c;
    next += __popc(staying);
  }
  set.list = list;
  set.count = all;
  __syncthreads();
}

// The mean of Scaled() over what is left, by weight: minus the entropy, but for a constant.
template <typename Set>
__device__ float MeanOf(const Cuts& cuts, const Set& set, double (*scratch)[SearchSpace::kMostWarps]) {
  double weights = 0, moments = 0;
  for (int i = threadIdx.x; i < set.size(); i += blockDim.x) {
    const Candidate c = set[i];
    if (!cuts.Leave(c)) continue;
    const double weight = cuts.Weight(c);
    weights += weight;
    moments += weight * cuts.Scaled(c);
  }
  weights = BlockSum(weights, scratch[0]);
  moments = BlockSum(moments, scratch[1]);
  return static_cast<float>(moments / weights);
}

struct Workspace {
  SearchSpace search;
  Candidate list[kList];
  double sums[2][SearchSpace::kMostWarps];
};

template <typename T>
__device__ int32_t Choose(Cuts cuts, CandidateSet<T> set, int top_k, double top_p, double typical_p, double uniform,
                          Workspace& space) {
  const auto counted = [&](const Candidate& c) { return Weighed{cuts.Leave(c), cuts.LikelyKey(c), 1}; };
  const auto weighed = [&](const Candidate& c) {
    const uint64_t mass = cuts.MassOf(c);
    return Weighed{mass > 0, cuts.LikelyKey(c), mass};
  };
  const bool limited = top_k > 0 && top_k < set.size(), typical = typical_p < 1, nucleus = top_p < 1;
  // A first cut, coarse, so that few are left for all that follows.
  uint64_t nucleus_mass = 0;  // 0: not known yet
  if (limited) {
    cuts.last_bin = FindDigit(set, counted, DigitOfKey(), 0, Exactly{static_cast<uint64_t>(top_k)}, space.search).digit;
  } else if (nucleus && !typical) {
    const auto found = FindDigit(set, weighed, DigitOfKey(), 0, Share{top_p}, space.search);
    cuts.last_bin = found.digit;
    nucleus_mass = found.wanted;
  }
  if (limited || nucleus_mass > 0 || cuts.least > kNever) ListWhatIsLeft(cuts, set, space.list, space.search);
  // The cuts themselves.
  if (limited) {
    cuts.likely = FindBorder(set, counted, Exactly{static_cast<uint64_t>(top_k)}, space.search);
  }
  if (typical) {
    cuts.mean = MeanOf(cuts, set, space.sums);
    const auto by_typicality = [&](const Candidate& c) {
      const uint64_t mass = cuts.MassOf(c);
      return Weighed{mass > 0, cuts.TypicalKey(c), mass};
    };
    cuts.typical = FindBorder(set, by_typicality, Share{typical_p}, space.search);
  }
  if (nucleus) {
    const uint64_t border = nucleus_mass > 0 ? FindBorder(set, weighed, Exactly{nucleus_mass}, space.search)
                                             : FindBorder(set, weighed, Share{top_p}, space.search);
    cuts.likely = min(cuts.likely, border);
  }
  return Draw(
      set, [&](const Candidate& c) { return cuts.MassOf(c); }, uniform, space.search);
}

template <typename T>
__global__ void __launch_bounds__(kMostThreads)
    SampleKernel(const T* logits, int width, Parameters parameters, int32_t* ids, float* log_probabilities) {
  __shared__ Workspace space;
  const int64_t i = blockIdx.x;
  const T* row = logits + i * width;
  const CandidateSet<T> all = {row, nullptr, width};
  uint64_t best = 0;  // the largest logit, of equals the lowest id
#pragma unroll 8
  for (int j = threadIdx.x; j < width; j += blockDim.x) {
    const uint64_t value = RisingBits(all[j].logit);
    best = max(best, value << 32 | ~static_cast<uint32_t>(j));
  }
  best = BlockMax(best, space.search.sums);
  const auto first = static_cast<int32_t>(~static_cast<uint32_t>(best));
  const float largest = all[first].logit;
  const double* settings = parameters.settings + 4 * i;
  int32_t chosen = first;
  if (settings[0] != 0 && fabsf(largest) <= std::numeric_limits<float>::max()) {
    // Bounded as on the CPU: 0 * inverse stays 0, and minus infinity * inverse what it is.
    const double temperature = min(max(settings[0], 1e-30), 1e30), min_p = settings[2];
    Cuts cuts;
    cuts.largest = largest;
    cuts.inverse_temperature = static_cast<float>(1 / temperature);
    if (min_p > 0) cuts.least = largest + static_cast<float>(temperature * log(min_p));
    const Philox philox(static_cast<uint64_t>(parameters.streams[2 * i]),
                        static_cast<uint64_t>(parameters.streams[2 * i + 1]));
    chosen = Choose(cuts, all, parameters.top_k[i], settings[1], settings[3],
                    philox.Uniform(static_cast<uint64_t>(parameters.index[i])), space);
  }
  if (threadIdx.x == 0) ids[i] = chosen;
  if (log_probabilities == nullptr) return;
  float sum = 0;
#pragma unroll 8
  for (int j = threadIdx.x; j < width; j += blockDim.x) {
    sum += Exp2((static_cast<float>(row[j]) - largest) * 1.44269504088896340736f);
  }
  sum = static_cast<float>(BlockSum(static_cast<double>(sum), space.sums[0]));
  if (threadIdx.x == 0) log_probabilities[i] = static_cast<float>(row[chosen]) - largest - logf(sum);
}

template <typename T>
void Run(const Context& context, const Tensor& logits, const Parameters& parameters, const Tensor& ids,
         const Tensor& log_probabilities) {
  constexpr int kPerThread = 8;  // logits, before a block grows
  const int64_t width = logits.dim(1);
  const auto threads =
      static_cast<unsigned>(std::clamp<int64_t>(CeilDiv(width, kPerThread * kWarp) * kWarp, 4 * kWarp, kMostThreads));
  Launch(context, "sample_rows", SampleKernel<T>, static_cast<unsigned>(logits.dim(0)), threads, 0, logits.data<T>(),
         static_cast<int>(width), parameters, ids.data<int32_t>(),
         log_probabilities.defined() ? log_probabilities.data<float>() : nullptr);
}

}  // namespace

void SampleRows(const Context& context, const Tensor& logits, const ops::SampleParameters& parameters,
                const Tensor& ids, const Tensor& log_probabilities) {
  const Parameters pointers = {parameters.settings.data<double>(), parameters.top_k.data<int32_t>(),
                               parameters.streams.data<int64_t>(), parameters.index.data<int64_t>()};
  logits.dtype() == DType::kBF16 ? Run<BFloat16>(context, logits, pointers, ids, log_probabilities)
                                 : Run<float>(context, logits, pointers, ids, log_probabilities);
}

}  // namespace photon::cuda
