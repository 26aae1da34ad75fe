// Lines from a file, a pipe or stdin, one by one, and whether the next is there yet: for whoever has other work while a
// pipe is quiet. Lines of nothing but white space are passed over.
//
// Used by one thread.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/statusor.h"

namespace photon {

class LineInput {
 public:
  static absl::StatusOr<LineInput> Open(const std::string& path);  // "-": stdin
  LineInput(LineInput&& other) noexcept;
  LineInput& operator=(LineInput&&) = delete;
  ~LineInput();

  // Waits for the next line, and gives it without its end; false at the end of the input. kDataLoss where it can't be
  // read.
  absl::StatusOr<bool> Next(std::string* line);
  // Whether Next would return at once.
  bool Ready() { return Find(/*wait=*/false); }

  const std::string& name() const { return name_; }  // for messages
  int64_t number() const { return number_; }         // of the line that Next gave last, from 1
  int64_t bytes_read() const { return bytes_read_; }
  int64_t bytes() const { return bytes_; }  // in all; 0 where that is not known

 private:
  LineInput(std::string name, int fd, int64_t bytes) : name_(std::move(name)), fd_(fd), bytes_(bytes) {}
  bool Find(bool wait);
  void Read();
  void Drop();

  std::string name_;
  int fd_;
  std::string buffer_;
  size_t begin_ = 0;     // of the next line, in the buffer
  size_t end_ = 0;       // of it, once Find found it
  size_t searched_ = 0;  // no line ends between its begin and here
  bool ended_ = false;   // there is nothing more to read
  int error_ = 0;        // why, where it is not the end of the input
  int64_t number_ = 0, bytes_read_ = 0, bytes_;
};

}  // namespace photon
