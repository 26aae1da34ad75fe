// One step of decoding: planned on the host, run on the device.
//
// Planning decides everything that depends on where sequences stand: which rows are read and written, positions, ids.
// It is collected and goes to the device in one upload. The operations see it only there, so that a step whose key() is
// that of an earlier one queues exactly the same operations: those may be recorded and replayed (StepRunner).
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "core/context.h"
#include "core/ops/cached_attention.h"
#include "model/kv_cache.h"

namespace photon {

class Step {
 public:
  // A tensor that is there when the step runs.
  struct Value {
    int index = -1;
    bool defined() const { return index >= 0; }
  };
  class Values {
   public:
    const Tensor& operator[](Value value) const { return tensors_[value.index]; }

   private:
    friend class Step;
    std::vector<Tensor> tensors_;
  };
  // Queues operations that depend on `values` and on constants that outlive it or that it holds; no copies from or to
  // the host. May run more than once.
  using Operations = std::function<Tensor(const Values& values)>;
  // Caches that are given new positions.
  struct Caches {
    Value bases, capacities, lengths;
    int64_t rows, longest;
    ops::CacheTable Table(const Values& values) const {
      return {values[bases], values[capacities], values[lengths], /*layer=*/0, rows, longest};
    }
  };

  explicit Step(const Context& context) : context_(&context) {}

  Value Upload(absl::Span<const int32_t> values);  // i32 [n]
  Value Upload(absl::Span<const int64_t> values);  // i64 [n]
  Value Upload(absl::Span<const double> values);   // f64 [n]
  // `what` and the operands' shapes say what is done: equal for two steps only where the operations are.
  Value Do(absl::string_view what, Operations operations);
  // [n, W] of `rows`, tensors of W contiguous elements that outlive the step; and the other way.
  Value Gather(absl::Span<const Tensor> rows);
  void Scatter(Value matrix, absl::Span<const Tensor> rows);
  // Appends `rows` positions to each cache; the step's operations have to write them. `longest` is rounded up, so that
  // keys repeat.
  Caches Append(absl::Span<KvCache* const> caches, int64_t rows);

  const std::string& key() const { return key_; }
  absl::Span<const char> uploads() const { return uploads_; }
  // Queues everything. `uploads` holds uploads() on the device.
  Values Run(const Tensor& uploads) const;

 private:
  struct Node {
    Operations operations;  // none: uploaded
    DType dtype = DType::kI32;
    size_t offset = 0;  // in the uploads
    int64_t elements = 0;
  };
  Value AddUpload(const void* data, int64_t elements, DType dtype);

  const Context* context_;
  std::string key_;
  std::vector<char> uploads_;
  std::vector<Node> nodes_;
};

// Uploads and runs.
Step::Values RunOnce(const Context& context, const Step& step);

}  // namespace photon
