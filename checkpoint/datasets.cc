#include "checkpoint/datasets.h"

#include <unistd.h>

#include <bit>

#include "absl/strings/str_cat.h"
#include "checkpoint/hdf5.h"
#include "checkpoint/manifest.h"
#include "core/file.h"

namespace photon {
namespace {

using hdf5::Handle;
using Dims = std::vector<hsize_t>;

Dims ToDims(absl::Span<const int64_t> values) { return Dims(values.begin(), values.end()); }

// On disk little-endian everywhere; HDF5 converts where a machine differs.
hid_t FileType(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return H5T_IEEE_F64LE;
    case DType::kF32:
      return H5T_IEEE_F32LE;
    case DType::kI64:
      return H5T_STD_I64LE;
    case DType::kI32:
      return H5T_STD_I32LE;
    default:
      return H5T_STD_U8LE;
  }
}

hid_t MemoryType(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return H5T_NATIVE_DOUBLE;
    case DType::kF32:
      return H5T_NATIVE_FLOAT;
    case DType::kI64:
      return H5T_NATIVE_INT64;
    case DType::kI32:
      return H5T_NATIVE_INT32;
    default:
      return H5T_NATIVE_UINT8;
  }
}

Handle Space(absl::Span<const int64_t> shape) {
  const Dims dims = ToDims(shape);
  return Handle(H5Screate_simple(dims.size(), dims.data(), nullptr), H5Sclose);
}

bool Select(const Handle& space, const std::vector<int64_t>& offset, absl::Span<const int64_t> shape) {
  const Dims start = ToDims(offset), count = ToDims(shape);
  return space.ok() &&
         H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, start.data(), nullptr, count.data(), nullptr) >= 0;
}

absl::Status Failed(absl::string_view what, absl::string_view dataset) {
  return absl::InternalError(absl::StrCat("HDF5 cannot ", what, " dataset ", dataset, ": ", hdf5::LastError()));
}

// Without time stamps: see Hdf5Image::Create.
Handle DatasetCreation() {
  Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  if (creation.ok() && H5Pset_obj_track_times(creation.get(), false) < 0) creation.Reset();
  return creation;
}

// HDF5 only reserves the place: the bytes are those in memory.
absl::Status AddPart(hid_t file, Hdf5Image& image, const std::string& dataset, const TensorPart& part) {
  static_assert(std::endian::native == std::endian::little, "files are little-endian");
  const Handle space = Space(part.region.shape.dims());
  const Handle creation = DatasetCreation();
  if (!creation.ok() || H5Pset_fill_time(creation.get(), H5D_FILL_TIME_NEVER) < 0 ||
      H5Pset_alloc_time(creation.get(), H5D_ALLOC_TIME_EARLY) < 0) {
    return Failed("set up", dataset);
  }
  const Handle set(H5Dcreate2(file, dataset.c_str(), FileType(part.value.dtype()), space.get(), H5P_DEFAULT,
                              creation.get(), H5P_DEFAULT),
                   H5Dclose);
  if (!set.ok()) return Failed("create", dataset);
  const haddr_t address = H5Dget_offset(set.get());
  if (address == HADDR_UNDEF) return Failed("place", dataset);
  image.Place(address, {static_cast<const char*>(part.value.raw()), part.value.bytes()});
  return absl::OkStatus();
}

absl::Status WriteVirtual(hid_t file, const ManifestTensor& tensor) {
  const Handle space = Space(tensor.shape());
  const Handle creation = DatasetCreation();
  if (!creation.ok()) return Failed("set up", tensor.name());
  for (const ManifestShard& shard : tensor.shards()) {
    const Handle source = Space(shard.shape());
    if (!Select(space, {shard.offset().begin(), shard.offset().end()}, shard.shape()) || !source.ok() ||
        H5Pset_virtual(creation.get(), space.get(), shard.file().c_str(), shard.dataset().c_str(), source.get()) < 0) {
      return Failed("map", tensor.name());
    }
  }
  DType dtype = DType::kF32;
  ParseDType(tensor.dtype(), &dtype);
  H5Sselect_all(space.get());
  const Handle set(
      H5Dcreate2(file, tensor.name().c_str(), FileType(dtype), space.get(), H5P_DEFAULT, creation.get(), H5P_DEFAULT),
      H5Dclose);
  return set.ok() ? absl::OkStatus() : Failed("create", tensor.name());
}

// The part of `box` relative to the corner of `frame`.
std::vector<int64_t> Within(const Region& box, const std::vector<int64_t>& frame) {
  std::vector<int64_t> offset = box.offset;
  for (size_t d = 0; d < offset.size(); ++d) offset[d] -= frame[d];
  return offset;
}

}  // namespace

absl::StatusOr<Hdf5Image> PartsImage(const std::string& file, const std::vector<NamedPart>& parts) {
  return Hdf5Image::Create(file, [&](hid_t id, Hdf5Image& image) {
    for (const NamedPart& named : parts) PHOTON_RETURN_IF_ERROR(AddPart(id, image, named.dataset, *named.part));
    return absl::OkStatus();
  });
}

absl::StatusOr<Hdf5Image> IndexImage(const Manifest& manifest) {
  return Hdf5Image::Create(kIndexName, [&](hid_t id, Hdf5Image&) {
    for (const ManifestTensor& tensor : manifest.tensors()) PHOTON_RETURN_IF_ERROR(WriteVirtual(id, tensor));
    return absl::OkStatus();
  });
}

absl::Status ReadShardBox(const std::string& dir, const ManifestShard& shard, const Region& box, const Region& region,
                          const Tensor& out) {
  const std::string path = absl::StrCat(dir, "/", shard.file());
  if (access(path.c_str(), R_OK) != 0) return FileError(errno, "cannot open", path);
  hdf5::Lock lock;
  const auto damaged = [&](absl::string_view what) {
    return absl::DataLossError(absl::StrCat(path, ": ", what, " ", shard.dataset(), ": ", hdf5::LastError()));
  };
  const Handle access_list(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  // Finished files never change, and locking fails on some read-only and network file systems.
  H5Pset_file_locking(access_list.get(), false, true);
  H5Pset_fclose_degree(access_list.get(), H5F_CLOSE_STRONG);
  const Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access_list.get()), H5Fclose);
  if (!file.ok()) return damaged("cannot open the file for dataset");
  const Handle set(H5Dopen2(file.get(), shard.dataset().c_str(), H5P_DEFAULT), H5Dclose);
  if (!set.ok()) return damaged("cannot open dataset");
  const Handle stored(H5Dget_space(set.get()), H5Sclose);
  Dims dims(std::max(0, H5Sget_simple_extent_ndims(stored.get())));
  H5Sget_simple_extent_dims(stored.get(), dims.data(), nullptr);
  if (dims != ToDims(shard.shape())) return damaged("the manifest's shape is not that of dataset");
  const Handle memory = Space(region.shape.dims());
  if (!Select(stored, Within(box, ShardRegion(shard).offset), box.shape.dims()) ||
      !Select(memory, Within(box, region.offset), box.shape.dims()) ||
      H5Dread(set.get(), MemoryType(out.dtype()), memory.get(), stored.get(), H5P_DEFAULT, out.raw()) < 0) {
    return damaged("cannot read dataset");
  }
  return absl::OkStatus();
}

}  // namespace photon
