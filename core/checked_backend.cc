#include "core/checked_backend.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "core/constant_string.h"
#include "core/ops/checks.h"

namespace photon {
namespace {

struct Argument {
  enum Use : uint8_t { kRead, kWritten, kWrittenWithInfinities };
  absl::string_view name;
  Use use;
  const Tensor* tensor;  // null: of another type
};

const Tensor* AsTensor(const Tensor& tensor) { return &tensor; }
template <typename T>
const Tensor* AsTensor(const T&) {
  return nullptr;
}

struct NonFinite {
  int64_t nans, infinities;
};

bool Counted(const Argument& argument) {
  return argument.tensor != nullptr && argument.tensor->defined() && ops::IsFloating(*argument.tensor);
}

// Of every argument that is Counted(), in order; waits.
std::vector<NonFinite> Count(const Context& context, const std::vector<Argument>& arguments) {
  const Tensor counts = context.Zeros({static_cast<int64_t>(arguments.size()), 2}, DType::kI64);
  for (size_t i = 0; i < arguments.size(); ++i) {
    const auto row = static_cast<int64_t>(i);
    if (Counted(arguments[i]))
      ops::CountNonFinite(context, *arguments[i].tensor, counts.Rows(row, row + 1).Reshape({2}));
  }
  std::vector<NonFinite> host(arguments.size());
  context.ToHost(counts, host.data());
  return host;
}

bool IsBad(const Argument& argument, const NonFinite& counts) {
  switch (argument.use) {
    case Argument::kRead:
      return false;
    case Argument::kWritten:
      return counts.nans + counts.infinities > 0;
    case Argument::kWrittenWithInfinities:
      return counts.nans > 0;
  }
  return false;
}

std::string Describe(const Argument& argument, const NonFinite& counts) {
  const std::string tensor = absl::StrCat(argument.name, " ", argument.tensor->ToString());
  if (counts.nans + counts.infinities == 0) return absl::StrCat(tensor, ", finite");
  return absl::StrCat(tensor, ", ", counts.nans, " NaN and ", counts.infinities, " infinite of ",
                      argument.tensor->elements());
}

[[noreturn]] void Fail(const Context& context, absl::string_view operation, const std::vector<Argument>& arguments) {
  const std::vector<NonFinite> counts = Count(context, arguments);
  std::vector<std::string> written, read;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (!Counted(arguments[i])) continue;
    (arguments[i].use == Argument::kRead ? read : written).push_back(Describe(arguments[i], counts[i]));
  }
  throw NotFinite(absl::StrCat("check: ", operation, " wrote what is not finite: ", absl::StrJoin(written, "; "),
                               read.empty() ? "" : ". It read ", absl::StrJoin(read, "; ")));
}

// `names`: the operation, then its arguments' names, marked as in CheckedBackend().
void Check(const Context& context, absl::string_view names, std::initializer_list<const Tensor*> tensors) {
  const std::vector<absl::string_view> words = absl::StrSplit(names, ' ');
  std::vector<Argument> arguments, written;
  const Tensor* const* tensor = tensors.begin();
  for (size_t i = 1; i < words.size(); ++i, ++tensor) {
    const char mark = words[i].back();
    const Argument::Use use = mark == '!'   ? Argument::kWritten
                              : mark == '~' ? Argument::kWrittenWithInfinities
                                            : Argument::kRead;
    arguments.push_back({use == Argument::kRead ? words[i] : words[i].substr(0, words[i].size() - 1), use, *tensor});
    if (use != Argument::kRead && Counted(arguments.back())) written.push_back(arguments.back());
  }
  if (written.empty()) return;
  const std::vector<NonFinite> counts = Count(context, written);
  for (size_t i = 0; i < written.size(); ++i) {
    if (IsBad(written[i], counts[i])) Fail(context, words[0], arguments);
  }
}

// The operation `kEntry` of the unchecked table, then the check.
template <ConstantString kNames, auto kEntry, typename... Arguments>
void Run(const Context& context, Arguments... arguments) {
  static_assert(kNames.count(' ') == sizeof...(Arguments), "a name for every argument");
  const Backend& backend = static_cast<const CheckedBackend&>(context.backend()).unchecked();
  const Context unchecked(context.device(), backend, context.allocator(), context.stream(), context.profiler());
  (backend.*kEntry)(unchecked, arguments...);
  Check(unchecked, kNames.chars, {AsTensor(arguments)...});
}

// What each operation writes: "!" after the name where that must be finite, "~" where infinities mean something, none
// where it only reads. Where a kernel writes through addresses, what it copies there is marked instead.
Backend CheckedTable() {
  using B = Backend;
  return {
      .copy_to_host = Run<"copy_to_host tensor host", &B::copy_to_host>,
      // "No limit" and banned tokens come as infinities.
      .copy_from_host = Run<"copy_from_host host tensor~", &B::copy_from_host>,
      .synchronize = Run<"synchronize", &B::synchronize>,
      .zero = Run<"zero tensor", &B::zero>,
      .matmul = Run<"matmul a transpose_a b transpose_b bias beta c!", &B::matmul>,
      .cast = Run<"cast in out!", &B::cast>,
      .add = Run<"add in out!", &B::add>,
      .sum_rows = Run<"sum_rows in out!", &B::sum_rows>,
      .select_rows = Run<"select_rows a b index out!", &B::select_rows>,
      .select_rows_gradient = Run<"select_rows_gradient dout index da! db!", &B::select_rows_gradient>,
      .gather_rows = Run<"gather_rows addresses out!", &B::gather_rows>,
      .scatter_rows = Run<"scatter_rows in! addresses", &B::scatter_rows>,
      .rms_norm_forward = Run<"rms_norm_forward x delta weight eps sum! y! rstd!", &B::rms_norm_forward>,
      .rms_norm_backward = Run<"rms_norm_backward dy x weight rstd dsum dx! ddelta! dweight!", &B::rms_norm_backward>,
      .rope = Run<"rope x! head_dim positions table inverse", &B::rope>,
      // Every row sees itself: no denominator is 0.
      .attention_forward = Run<"attention_forward q k v shape out! lse!", &B::attention_forward>,
      .attention_backward = Run<"attention_backward dout q k v out lse shape dq! dk! dv!", &B::attention_backward>,
      .append_to_caches = Run<"append_to_caches qkv! caches shape table", &B::append_to_caches>,
      // Of the blocks, what lies behind the positions may be anything.
      .copy_cache = Run<"copy_cache from to positions head_dim", &B::copy_cache>,
      .cached_attention = Run<"cached_attention q caches shape out!", &B::cached_attention>,
      .swiglu_forward = Run<"swiglu_forward gate_up y!", &B::swiglu_forward>,
      .swiglu_backward = Run<"swiglu_backward dy gate_up dgate_up!", &B::swiglu_backward>,
      .cross_entropy = Run<"cross_entropy logits! target scale nll!", &B::cross_entropy>,
      .vocabulary_statistics = Run<"vocabulary_statistics logits target stats!", &B::vocabulary_statistics>,
      .split_cross_entropy = Run<"split_cross_entropy logits! target scored stats scale nll!", &B::split_cross_entropy>,
      .cosine = Run<"cosine a b scale distance! da! db!", &B::cosine>,
      // Of banned tokens alone, no log-probability is a number.
      .sample_rows = Run<"sample_rows logits parameters ids log_probabilities", &B::sample_rows>,
      .sum_squares = Run<"sum_squares x out!", &B::sum_squares>,
      .accumulate_sum = Run<"accumulate_sum x mask out!", &B::accumulate_sum>,
      .clip = Run<"clip sum_squares losses control~", &B::clip>,
      .adamw = Run<"adamw step control p! g m! v! copy!", &B::adamw>,
      .count_non_finite = Run<"count_non_finite x counts", &B::count_non_finite>,
  };
}

}  // namespace

CheckedBackend::CheckedBackend(const Backend& unchecked) : Backend(CheckedTable()), unchecked_(unchecked) {}

}  // namespace photon
