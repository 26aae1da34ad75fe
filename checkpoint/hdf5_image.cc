#include "checkpoint/hdf5_image.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "absl/strings/str_cat.h"

namespace photon {
namespace {

constexpr uint64_t kPiece = 1 << 20;  // stays in the second-level cache between its checksum and its way to the system

// What a property list carries to the driver. The caller owns both and outlives the HDF5 file.
struct Target {
  Hdf5Metadata* metadata;
  uint64_t* size;
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
  // The file ends where its last dataset ends, whether or not HDF5 wrote there.
  *Cast(file)->target.size = Cast(file)->end_of_allocation;
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

herr_t Read(H5FD_t* file, H5FD_mem_t, hid_t, haddr_t address, size_t size, void* buffer) {
  Cast(file)->target.metadata->Read(address, static_cast<char*>(buffer), size);
  return 0;
}

herr_t Write(H5FD_t* base, H5FD_mem_t, hid_t, haddr_t address, size_t size, const void* buffer) {
  DriverFile* file = Cast(base);
  file->target.metadata->Write(address, {static_cast<const char*>(buffer), size});
  file->end_of_file = std::max(file->end_of_file, address + size);
  return 0;
}

herr_t Truncate(H5FD_t* base, hid_t, hbool_t) {
  Cast(base)->end_of_file = Cast(base)->end_of_allocation;
  return 0;
}

H5FD_class_t DriverClass() {
  H5FD_class_t driver{};
#ifdef H5FD_CLASS_VERSION  // from HDF5 1.14 on
  driver.version = H5FD_CLASS_VERSION;
  driver.value = H5_VFD_RESERVED;  // the first that the library leaves to others; it goes into no file
#endif
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

}  // namespace

void Hdf5Metadata::Write(uint64_t address, absl::string_view bytes) {
  while (!bytes.empty()) {
    std::string& page = pages_[address / kPage];
    page.resize(kPage);
    const uint64_t at = address % kPage, count = std::min<uint64_t>(bytes.size(), kPage - at);
    memcpy(page.data() + at, bytes.data(), count);
    bytes.remove_prefix(count), address += count;
  }
}

void Hdf5Metadata::Read(uint64_t address, char* out, size_t size) const {
  while (size > 0) {
    const uint64_t at = address % kPage, count = std::min<uint64_t>(size, kPage - at);
    const auto page = pages_.find(address / kPage);
    if (page == pages_.end()) memset(out, 0, count);
    if (page != pages_.end()) memcpy(out, page->second.data() + at, count);
    out += count, address += count, size -= count;
  }
}

absl::StatusOr<Hdf5Image> Hdf5Image::Create(const std::string& name,
                                            const std::function<absl::Status(hid_t, Hdf5Image&)>& fill) {
  hdf5::Lock lock;
  Hdf5Image image;
  const auto failed = [&](absl::string_view what) {
    return absl::InternalError(absl::StrCat("HDF5 cannot ", what, " ", name, ": ", hdf5::LastError()));
  };
  const Target target{&image.metadata_, &image.size_};
  const H5FD_class_t driver_class = DriverClass();
  hdf5::Handle driver(H5FDregister(&driver_class), H5FDunregister);
  hdf5::Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  if (!driver.ok() || !access.ok() || H5Pset_driver(access.get(), driver.get(), &target) < 0 ||
      // 1.10's formats checksum all metadata that readers of that age can check.
      H5Pset_libver_bounds(access.get(), H5F_LIBVER_V110, H5F_LIBVER_V110) < 0 ||
      H5Pset_alignment(access.get(), 1 << 16, 4096) < 0 || H5Pset_meta_block_size(access.get(), 1 << 16) < 0) {
    return failed("set up");
  }
  // No time stamps: the same tensors make the same bytes, so that checkpoints can be compared as files.
  hdf5::Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
  if (!creation.ok() || H5Pset_obj_track_times(creation.get(), false) < 0) return failed("set up");
  const hid_t file = H5Fcreate(name.c_str(), H5F_ACC_TRUNC, creation.get(), access.get());
  if (file < 0) return failed("create");
  const absl::Status filled = fill(file, image);
  if (H5Fclose(file) < 0 && filled.ok()) return failed("close");
  PHOTON_RETURN_IF_ERROR(filled);
  return image;
}

absl::Status Hdf5Image::ForEachPiece(const std::function<absl::Status(absl::string_view)>& f) const {
  std::string metadata;
  for (uint64_t at = 0; at < size_;) {
    const auto next = placed_.upper_bound(at);
    uint64_t end = next == placed_.end() ? size_ : next->first;
    const auto here = next == placed_.begin() ? placed_.end() : std::prev(next);
    absl::string_view piece;
    if (here != placed_.end() && at < here->first + here->second.size()) {
      piece = here->second.substr(at - here->first, kPiece);
    } else {
      metadata.resize(std::min(end - at, kPiece));
      metadata_.Read(at, metadata.data(), metadata.size());
      piece = metadata;
    }
    PHOTON_RETURN_IF_ERROR(f(piece));
    at += piece.size();
  }
  return absl::OkStatus();
}

}  // namespace photon
