#include "core/ops/cosine.h"

#include "absl/strings/str_cat.h"
#include "core/backend.h"

namespace photon::ops {

void CosineForward(const Context& context, const Tensor& a, const Tensor& b, const Tensor& scale,
                   const Tensor& distance, const Tensor& da, const Tensor& db) {
  const auto operands = [&] {
    return absl::StrCat("a ", a.ToString(), ", b ", b.ToString(), ", scale ", scale.ToString(), ", distance ",
                        distance.ToString(), ", da ", da.ToString(), ", db ", db.ToString());
  };
  PHOTON_CHECK(a.rank() == 2 && (a.dtype() == DType::kF32 || a.dtype() == DType::kF64))
      << "[cosine] a is not an f32 or f64 matrix: " << operands();
  const auto fits = [&](const Tensor& t, const Shape& shape) {
    return t.shape() == shape && t.contiguous() && t.dtype() == a.dtype();
  };
  PHOTON_CHECK(a.contiguous() && b.defined() && fits(b, a.shape()) && (!da.defined() || fits(da, a.shape())) &&
               (!db.defined() || fits(db, a.shape())))
      << "[cosine] want one shape and dtype, contiguous: " << operands();
  PHOTON_CHECK(distance.defined() && fits(distance, {a.dim(0)}) && (!scale.defined() || fits(scale, {a.dim(0)})))
      << "[cosine] scale or distance does not fit: " << operands();
  PHOTON_CHECK(scale.defined() || (!da.defined() && !db.defined()))
      << "[cosine] gradients need a scale: " << operands();
  context.backend().cosine(context, a, b, scale, distance, da, db);
}

void CosineDistance(Tape& tape, const Var& a, const Var& b, const Tensor& scale, const Tensor& distance) {
  const Context& context = tape.context();
  const bool record = tape.recording() && scale.defined() && (a.needs_gradient() || b.needs_gradient());
  Tensor da, db;
  if (record && a.needs_gradient()) da = context.Empty(a.value.shape(), a.value.dtype());
  if (record && b.needs_gradient()) db = context.Empty(b.value.shape(), b.value.dtype());
  CosineForward(context, a.value, b.value, record ? scale : Tensor(), distance, da, db);
  if (!record) return;
  tape.Record("cosine_distance", [&context, da, db, a_slot = a.slot, b_slot = b.slot]() mutable {
    if (da.defined()) a_slot->Accumulate(context, std::move(da));
    if (db.defined()) b_slot->Accumulate(context, std::move(db));
  });
}

}  // namespace photon::ops
