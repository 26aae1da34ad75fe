// A backend that does what the CPU's does and measures how long each operation takes: where a step's time goes.
#pragma once

#include <map>
#include <string>

#include "core/backend.h"
#include "core/time.h"

namespace photon::bench {

struct OpTime {
  double seconds = 0;
  int64_t calls = 0;
};

// Not thread-safe: operations are called from one thread. `times` must outlive every use of the table.
class TimedBackend {
 public:
  static std::map<std::string, OpTime>& times() {
    static std::map<std::string, OpTime> times;
    return times;
  }

  static const Backend& Table() {
    static const Backend table = Make();
    return table;
  }

 private:
  // One wrapper a table entry: the entry itself is a template parameter, so that a plain function pointer comes out.
  template <auto Entry>
  struct Wrap;
  template <typename R, typename... Args, R (*Backend::*Entry)(Args...)>
  struct Wrap<Entry> {
    static inline const char* name;
    static R Call(Args... args) {
      const double start = Now();
      (CpuBackend().*Entry)(args...);
      OpTime& time = times()[name];
      time.seconds += Now() - start;
      ++time.calls;
    }
  };
  template <auto Entry>
  static void Set(Backend& table, const char* name) {
    Wrap<Entry>::name = name;
    table.*Entry = Wrap<Entry>::Call;
  }

  static Backend Make() {
    Backend b = CpuBackend();
    Set<&Backend::zero>(b, "zero");
    Set<&Backend::matmul>(b, "matmul");
    Set<&Backend::cast>(b, "cast");
    Set<&Backend::add>(b, "add");
    Set<&Backend::sum_rows>(b, "sum_rows");
    Set<&Backend::select_rows>(b, "select_rows");
    Set<&Backend::select_rows_gradient>(b, "select_rows_gradient");
    Set<&Backend::rms_norm_forward>(b, "rms_norm_forward");
    Set<&Backend::rms_norm_backward>(b, "rms_norm_backward");
    Set<&Backend::rope>(b, "rope");
    Set<&Backend::attention_forward>(b, "attention_forward");
    Set<&Backend::attention_backward>(b, "attention_backward");
    Set<&Backend::swiglu_forward>(b, "swiglu_forward");
    Set<&Backend::swiglu_backward>(b, "swiglu_backward");
    Set<&Backend::cross_entropy>(b, "cross_entropy");
    Set<&Backend::vocabulary_statistics>(b, "vocabulary_statistics");
    Set<&Backend::split_cross_entropy>(b, "split_cross_entropy");
    Set<&Backend::cosine>(b, "cosine");
    Set<&Backend::sum_squares>(b, "sum_squares");
    Set<&Backend::accumulate_sum>(b, "accumulate_sum");
    Set<&Backend::clip>(b, "clip");
    Set<&Backend::adamw>(b, "adamw");
    return b;
  }
};

}  // namespace photon::bench
