#include "data/byte_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "core/file.h"

namespace photon {
namespace {

constexpr int64_t kPackedBytes = 256 << 10;  // read from a packed file at a time

class PlainSource : public ByteSource {
 public:
  PlainSource(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  ~PlainSource() override { close(fd_); }
  PlainSource(const PlainSource&) = delete;
  PlainSource& operator=(const PlainSource&) = delete;

  absl::StatusOr<int64_t> Read(char* out, int64_t size) override {
    int64_t done = 0;
    while (done < size) {  // not pread: pipes have no offsets
      const ssize_t n = read(fd_, out + done, std::min<int64_t>(size - done, 1 << 30));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return FileError(errno, "input", path_);
      if (n == 0) break;
      done += n;
    }
    consumed_ += done;
    return done;
  }

  absl::Status Skip(int64_t bytes) override {
    struct stat info;
    if (fstat(fd_, &info) != 0) return FileError(errno, "input", path_);
    if (!S_ISREG(info.st_mode)) return ByReading(*this, bytes);
    if (consumed_ + bytes > info.st_size) return TooShort(path_);
    if (lseek(fd_, bytes, SEEK_CUR) < 0) return FileError(errno, "input", path_);
    consumed_ += bytes;
    return absl::OkStatus();
  }

  int64_t consumed() const override { return consumed_; }
  const std::string& path() const { return path_; }

  static absl::Status TooShort(const std::string& path) {
    return absl::DataLossError(absl::StrCat("input ", path, " is shorter than it was: start over with --fresh"));
  }
  static absl::Status ByReading(ByteSource& source, int64_t bytes, const std::string& path) {
    std::string dropped(std::min<int64_t>(bytes, 1 << 20), '\0');
    while (bytes > 0) {
      const int64_t want = std::min<int64_t>(bytes, dropped.size());
      PHOTON_ASSIGN_OR_RETURN(const int64_t count, source.Read(dropped.data(), want));
      if (count < want) return TooShort(path);
      bytes -= count;
    }
    return absl::OkStatus();
  }

 private:
  static absl::Status ByReading(PlainSource& source, int64_t bytes) { return ByReading(source, bytes, source.path_); }

  const std::string path_;
  const int fd_;
  int64_t consumed_ = 0;
};

// What gzip and Zstandard have in common: packed bytes come in pieces, of which a step takes some.
class PackedSource : public ByteSource {
 public:
  explicit PackedSource(std::unique_ptr<PlainSource> packed) : file_(std::move(packed)), buffer_(kPackedBytes, '\0') {}

  absl::StatusOr<int64_t> Read(char* out, int64_t size) override {
    int64_t done = 0;
    while (done < size) {
      if (input_.empty() && !at_end_) PHOTON_RETURN_IF_ERROR(Refill());
      if (input_.empty() && at_end_ && between_archives_) break;
      const size_t before = input_.size();
      PHOTON_ASSIGN_OR_RETURN(const int64_t count, Unpack(out + done, size - done));
      done += count;
      if (count == 0 && input_.size() == before && at_end_) return Damaged("it ends too early: truncated?");
    }
    return done;
  }

  absl::Status Skip(int64_t bytes) override { return PlainSource::ByReading(*this, bytes, file_->path()); }
  int64_t consumed() const override { return file_->consumed() - static_cast<int64_t>(input_.size()); }

 protected:
  // Takes from input_, which may be empty at the end of the file, and fills `out`. Sets between_archives_.
  virtual absl::StatusOr<int64_t> Unpack(char* out, int64_t size) = 0;

  absl::Status Damaged(absl::string_view problem) const {
    return absl::DataLossError(absl::StrCat("input ", file_->path(), ": damaged archive at byte ", consumed(), ": ",
                                            problem, " Copy or download it again, or leave it out"));
  }

  absl::string_view input_;
  bool at_end_ = false;            // input_ is the last of the file
  bool between_archives_ = false;  // a file of no bytes at all is a truncated one

 private:
  absl::Status Refill() {
    PHOTON_ASSIGN_OR_RETURN(const int64_t count, file_->Read(buffer_.data(), kPackedBytes));
    input_ = {buffer_.data(), static_cast<size_t>(count)};
    at_end_ = count < kPackedBytes;
    return absl::OkStatus();
  }

  std::unique_ptr<PlainSource> file_;
  std::string buffer_;
};

class GzipSource : public PackedSource {
 public:
  explicit GzipSource(std::unique_ptr<PlainSource> packed) : PackedSource(std::move(packed)) {
    constexpr int kGzipWindow = 15 + 16;
    if (inflateInit2(&stream_, kGzipWindow) != Z_OK) throw std::bad_alloc();
  }
  ~GzipSource() override { inflateEnd(&stream_); }

 private:
  absl::StatusOr<int64_t> Unpack(char* out, int64_t size) override {
    if (between_archives_) {
      while (!input_.empty() && input_[0] == '\0') input_.remove_prefix(1);  // tapes are padded with zeros
      if (input_.empty()) return 0;
      inflateReset(&stream_);
      between_archives_ = false;
    }
    const int64_t room = std::min<int64_t>(size, 1 << 30);
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(input_.data()));
    stream_.avail_in = static_cast<uInt>(input_.size());
    stream_.next_out = reinterpret_cast<Bytef*>(out);
    stream_.avail_out = static_cast<uInt>(room);
    const int result = inflate(&stream_, Z_NO_FLUSH);
    input_.remove_prefix(input_.size() - stream_.avail_in);
    if (result == Z_MEM_ERROR) throw std::bad_alloc();
    if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR) {
      return Damaged(absl::StrCat(stream_.msg != nullptr ? stream_.msg : "not gzip", "."));
    }
    between_archives_ = result == Z_STREAM_END;
    return room - stream_.avail_out;
  }

  z_stream stream_ = {};
};

class ZstdSource : public PackedSource {
 public:
  explicit ZstdSource(std::unique_ptr<PlainSource> packed)
      : PackedSource(std::move(packed)), stream_(ZSTD_createDStream(), ZSTD_freeDStream) {
    if (stream_ == nullptr) throw std::bad_alloc();
    constexpr int kLongestWindow = 31;  // of `zstd --long=31`, which large corpora are packed with
    ZSTD_DCtx_setParameter(stream_.get(), ZSTD_d_windowLogMax, kLongestWindow);
  }

 private:
  absl::StatusOr<int64_t> Unpack(char* out, int64_t size) override {
    if (input_.empty() && between_archives_) return 0;
    ZSTD_inBuffer in = {input_.data(), input_.size(), 0};
    ZSTD_outBuffer to = {out, static_cast<size_t>(size), 0};
    const size_t result = ZSTD_decompressStream(stream_.get(), &to, &in);
    input_.remove_prefix(in.pos);
    if (ZSTD_isError(result)) return Damaged(absl::StrCat(ZSTD_getErrorName(result), "."));
    between_archives_ = result == 0;
    return static_cast<int64_t>(to.pos);
  }

  std::unique_ptr<ZSTD_DStream, size_t (*)(ZSTD_DStream*)> stream_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ByteSource>> ByteSource::Open(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return FileError(errno, "input", path);
  posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
  auto plain = std::make_unique<PlainSource>(path, fd);
  if (absl::EndsWith(path, ".gz")) return std::make_unique<GzipSource>(std::move(plain));
  if (absl::EndsWith(path, ".zst")) return std::make_unique<ZstdSource>(std::move(plain));
  return plain;
}

}  // namespace photon
