#include "checkpoint/hdf5_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "core/checksum.h"
#include "core/file.h"

namespace photon {
namespace {

// What a property list carries to the driver. The caller owns both and outlives the HDF5 file.
struct Target {
  int fd;
  int* error;  // errno of the first failure; 0 so far
};

struct DriverFile {
  H5FD_t base;  // first: HDF5 casts
  Target target;
  haddr_t end_of_allocation = 0;
  haddr_t end_of_file = 0;
};

DriverFile* Cast(H5FD_t* file) { return reinterpret_cast<DriverFile*>(file); }

H5FD_t* Open(const char*, unsigned, hid_t access, haddr_t) {
  const auto* target = static_cast<const Target*>(H5Pget_driver_info(access));
  if (target == nullptr) return nullptr;
  auto* file = new DriverFile{};
  file->target = *target;
  return &file->base;
}

herr_t Close(H5FD_t* file) {
  delete Cast(file);
  return 0;
}

herr_t Query(const H5FD_t*, unsigned long* flags) {
  *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA | H5FD_FEAT_DATA_SIEVE |
           H5FD_FEAT_AGGREGATE_SMALLDATA | H5FD_FEAT_DEFAULT_VFD_COMPATIBLE;
  return 0;
}

haddr_t GetEndOfAllocation(const H5FD_t* file, H5FD_mem_t) {
  return reinterpret_cast<const DriverFile*>(file)->end_of_allocation;
}

herr_t SetEndOfAllocation(H5FD_t* file, H5FD_mem_t, haddr_t address) {
  Cast(file)->end_of_allocation = address;
  return 0;
}

haddr_t GetEndOfFile(const H5FD_t* file, H5FD_mem_t) { return reinterpret_cast<const DriverFile*>(file)->end_of_file; }

herr_t Read(H5FD_t* base, H5FD_mem_t, hid_t, haddr_t address, size_t size, void* buffer) {
  char* out = static_cast<char*>(buffer);
  while (size > 0) {
    const ssize_t n = pread(Cast(base)->target.fd, out, std::min<size_t>(size, 1 << 30), address);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return -1;
    if (n == 0) {  // beyond the end: zeros, as HDF5's own drivers give
      memset(out, 0, size);
      break;
    }
    out += n, address += n, size -= n;
  }
  return 0;
}

herr_t Write(H5FD_t* base, H5FD_mem_t, hid_t, haddr_t address, size_t size, const void* buffer) {
  DriverFile* file = Cast(base);
  const char* in = static_cast<const char*>(buffer);
  file->end_of_file = std::max(file->end_of_file, address + size);
  while (size > 0 && *file->target.error == 0) {
    const ssize_t n = pwrite(file->target.fd, in, std::min<size_t>(size, 1 << 30), address);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) *file->target.error = errno;
    if (n > 0) in += n, address += n, size -= n;
  }
  return 0;  // always: see the header
}

herr_t Truncate(H5FD_t* base, hid_t, hbool_t) {
  DriverFile* file = Cast(base);
  if (file->end_of_file == file->end_of_allocation) return 0;
  if (*file->target.error == 0 && ftruncate(file->target.fd, file->end_of_allocation) != 0) {
    *file->target.error = errno;
  }
  file->end_of_file = file->end_of_allocation;
  return 0;
}

H5FD_class_t DriverClass() {
  H5FD_class_t driver{};
  driver.name = "photon";
  driver.maxaddr = std::numeric_limits<int64_t>::max();
  driver.fc_degree = H5F_CLOSE_STRONG;
  driver.fapl_size = sizeof(Target);
  driver.open = Open;
  driver.close = Close;
  driver.query = Query;
  driver.get_eoa = GetEndOfAllocation;
  driver.set_eoa = SetEndOfAllocation;
  driver.get_eof = GetEndOfFile;
  driver.read = Read;
  driver.write = Write;
  driver.truncate = Truncate;
  const H5FD_mem_t one_list[] = H5FD_FLMAP_DICHOTOMY;
  std::copy(std::begin(one_list), std::end(one_list), driver.fl_map);
  return driver;
}

// Everything that happens inside HDF5. Errors of the disk are in *target.error, not in the status.
absl::Status Fill(const std::string& path, const Target& target, const std::function<absl::Status(hid_t)>& fill) {
  hdf5::Lock lock;
  const H5FD_class_t driver_class = DriverClass();
  hdf5::Handle driver(H5FDregister(&driver_class), H5FDunregister);
  hdf5::Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  if (!driver.ok() || !access.ok() || H5Pset_driver(access.get(), driver.get(), &target) < 0 ||
      // 1.10's formats checksum all metadata that readers of that age can check.
      H5Pset_libver_bounds(access.get(), H5F_LIBVER_V110, H5F_LIBVER_V110) < 0 ||
      H5Pset_alignment(access.get(), 1 << 16, 4096) < 0 || H5Pset_meta_block_size(access.get(), 1 << 16) < 0) {
    return absl::InternalError(absl::StrCat("cannot set up HDF5 for ", path, ": ", hdf5::LastError()));
  }
  // No time stamps: the same tensors make the same bytes, so that checkpoints can be compared as files.
  hdf5::Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
  if (!creation.ok() || H5Pset_obj_track_times(creation.get(), false) < 0) {
    return absl::InternalError(absl::StrCat("cannot set up HDF5 for ", path, ": ", hdf5::LastError()));
  }
  hdf5::Handle file(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation.get(), access.get()), H5Fclose);
  if (!file.ok()) return absl::InternalError(absl::StrCat("cannot create ", path, ": ", hdf5::LastError()));
  return fill(file.get());
}

}  // namespace

absl::StatusOr<ManifestFile> CreateHdf5File(const std::string& dir, const std::string& name,
                                            const std::function<absl::Status(hid_t)>& fill) {
  const std::string path = absl::StrCat(dir, "/", name);
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd < 0) return FileError(errno, "cannot create", path);
  absl::Cleanup close_fd = [fd] { close(fd); };
  int error = 0;
  const absl::Status filled = Fill(path, Target{fd, &error}, fill);
  if (error != 0) return FileError(error, "cannot write", path);
  PHOTON_RETURN_IF_ERROR(filled);
  // The disk begins to write while the checksum is computed from the page cache.
  sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
  PHOTON_ASSIGN_OR_RETURN(const FileChecksum checksum, ChecksumFile(fd, path));
  if (fsync(fd) != 0) return FileError(errno, "cannot flush", path);
  ManifestFile entry;
  entry.set_name(name);
  entry.set_bytes(checksum.bytes);
  entry.set_xxh3(checksum.xxh3);
  return entry;
}

}  // namespace photon
