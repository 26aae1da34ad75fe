#include "inference/step.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "absl/strings/str_cat.h"
#include "core/ops/row_addresses.h"

namespace photon {
namespace {

// Positions: steps of sequences up to here share their recorded operations.
constexpr uint64_t kShortest = 16;

std::vector<int64_t> AddressesOf(absl::Span<const Tensor> rows) {
  std::vector<int64_t> addresses;
  for (const Tensor& row : rows) {
    PHOTON_CHECK(row.contiguous() && row.elements() == rows[0].elements()) << row.ToString();
    addresses.push_back(reinterpret_cast<int64_t>(row.raw()));
  }
  return addresses;
}

}  // namespace

Step::Value Step::Upload(absl::Span<const int32_t> values) {
  return AddUpload(values.data(), static_cast<int64_t>(values.size()), DType::kI32);
}

Step::Value Step::Upload(absl::Span<const int64_t> values) {
  return AddUpload(values.data(), static_cast<int64_t>(values.size()), DType::kI64);
}

Step::Value Step::Upload(absl::Span<const double> values) {
  return AddUpload(values.data(), static_cast<int64_t>(values.size()), DType::kF64);
}

Step::Value Step::AddUpload(const void* data, int64_t elements, DType dtype) {
  constexpr size_t kAlignment = 16;
  const size_t offset = (uploads_.size() + kAlignment - 1) / kAlignment * kAlignment;
  const size_t bytes = elements * ByteSize(dtype);
  uploads_.resize(offset + bytes);
  std::copy_n(static_cast<const char*>(data), bytes, uploads_.begin() + static_cast<int64_t>(offset));
  absl::StrAppend(&key_, Name(dtype), "[", elements, "] ");
  nodes_.push_back({.operations = nullptr, .dtype = dtype, .offset = offset, .elements = elements});
  return {static_cast<int>(nodes_.size()) - 1};
}

Step::Value Step::Do(absl::string_view what, Operations operations) {
  absl::StrAppend(&key_, what, " ");
  nodes_.push_back({.operations = std::move(operations)});
  return {static_cast<int>(nodes_.size()) - 1};
}

Step::Value Step::Gather(absl::Span<const Tensor> rows) {
  const Value addresses = Upload(AddressesOf(rows));
  const Shape shape = {static_cast<int64_t>(rows.size()), rows[0].elements()};
  return Do("gather", [context = context_, addresses, shape, dtype = rows[0].dtype()](const Values& values) {
    const Tensor matrix = context->Empty(shape, dtype);
    ops::GatherRows(*context, values[addresses], matrix);
    return matrix;
  });
}

void Step::Scatter(Value matrix, absl::Span<const Tensor> rows) {
  const Value addresses = Upload(AddressesOf(rows));
  Do("scatter", [context = context_, addresses, matrix](const Values& values) {
    ops::ScatterRows(*context, values[matrix], values[addresses]);
    return Tensor();
  });
}

Step::Caches Step::Append(absl::Span<KvCache* const> caches, int64_t rows) {
  const CacheLists lists = AppendToEach(caches, rows);
  const int64_t longest = static_cast<int64_t>(std::bit_ceil(std::max<uint64_t>(lists.longest, kShortest)));
  absl::StrAppend(&key_, "caches +", rows, " <= ", longest, " ");
  return {Upload(lists.bases), Upload(lists.capacities), Upload(lists.lengths), rows, longest};
}

Step::Values Step::Run(const Tensor& uploads) const {
  Values values;
  for (const Node& node : nodes_) {
    values.tensors_.push_back(node.operations != nullptr
                                  ? node.operations(values)
                                  : Tensor::Wrap(static_cast<char*>(uploads.raw()) + node.offset, {node.elements},
                                                 node.dtype, context_->device()));
  }
  return values;
}

Step::Values RunOnce(const Context& context, const Step& step) {
  return step.Run(context.FromHost(step.uploads().data(), {static_cast<int64_t>(step.uploads().size())}, DType::kU8));
}

}  // namespace photon
