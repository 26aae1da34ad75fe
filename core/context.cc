#include "core/context.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/backend.h"

namespace photon {
namespace {

// "ops::Linear" of "photon::Var photon::ops::Linear(photon::Tape&, ..) [with ..]".
std::string NameOf(const Context::Place& where) {
  absl::string_view name = where.function_name();
  name = name.substr(0, name.find('('));
  if (const size_t space = name.rfind(' '); space != absl::string_view::npos) name.remove_prefix(space + 1);
  constexpr absl::string_view kOurs = "photon::";
  if (name.substr(0, kOurs.size()) == kOurs) name.remove_prefix(kOurs.size());
  return std::string(name);
}

}  // namespace

Tensor Context::Empty(Shape shape, DType dtype, const Place& where) const {
  try {
    return Tensor(*allocator_, device_, std::move(shape), dtype);
  } catch (const OutOfMemory& error) {
    throw OutOfMemory(absl::StrCat(error.what(), ", in ", NameOf(where)));
  }
}

Tensor Context::Zeros(Shape shape, DType dtype, const Place& where) const {
  Tensor t = Empty(std::move(shape), dtype, where);
  ops::Zero(*this, t);
  return t;
}

Tensor Context::FromHost(const void* data, Shape shape, DType dtype, const Place& where) const {
  Tensor t = Empty(std::move(shape), dtype, where);
  ops::CopyFromHost(*this, data, t);
  return t;
}

void Context::ToHost(const Tensor& tensor, void* data) const { ops::CopyToHost(*this, tensor, data); }

void Context::Synchronize() const { ops::Synchronize(*this); }

}  // namespace photon
