#include "core/context.h"

#include "core/backend.h"

namespace photon {

Tensor Context::Zeros(Shape shape, DType dtype) const {
  Tensor t = Empty(std::move(shape), dtype);
  ops::Zero(*this, t);
  return t;
}

Tensor Context::FromHost(const void* data, Shape shape, DType dtype) const {
  Tensor t = Empty(std::move(shape), dtype);
  ops::CopyFromHost(*this, data, t);
  return t;
}

void Context::ToHost(const Tensor& tensor, void* data) const { ops::CopyToHost(*this, tensor, data); }

void Context::Synchronize() const { ops::Synchronize(*this); }

}  // namespace photon
