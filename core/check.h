// PHOTON_CHECK: for bugs of ours only. Bad input is reported by absl::Status instead.
//
// A failed check prints what, where and the values, then ends the process with exit code 1.
#pragma once

#include <sstream>

namespace photon::internal {

// Collects the message; its destructor prints it and ends the process.
class CheckFailure {
 public:
  CheckFailure(const char* file, int line, const char* condition);
  [[noreturn]] ~CheckFailure();
  std::ostream& stream() { return message_; }

 private:
  std::ostringstream message_;
};

// Turns the streamed expression into void, so that both branches of ?: agree.
struct Voidify {
  void operator&(std::ostream&) {}
};

}  // namespace photon::internal

#define PHOTON_CHECK(condition) \
  (condition)                   \
      ? (void)0                 \
      : ::photon::internal::Voidify() & ::photon::internal::CheckFailure(__FILE__, __LINE__, #condition).stream()

#define PHOTON_CHECK_EQ(a, b) PHOTON_CHECK((a) == (b)) << "(" << (a) << " vs " << (b) << ") "
