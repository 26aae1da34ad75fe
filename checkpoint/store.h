// A checkpoint: named, globally-shaped tensors and the state of a run, in a folder that is whole or absent.
//
//   DIR/manifest.textproto            what is here, checksums, config, run state (configs/checkpoint.proto)
//   DIR/index.h5                      whole tensors under their names: HDF5 virtual datasets over the files below
//   DIR/model-00000-of-00002.h5       the parts that rank 0 owns; likewise optimizer-..
//   DIR/tokenizer.model (or .json)    the tokenizer itself, where there is one
//
// Written under DIR.tmp, flushed to disk, renamed: a reader never sees half of one. Knows nothing of models: any layout
// reads any checkpoint. Any number of threads may use it at once; HDF5 itself is entered by one at a time (hdf5.h has the lock).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "configs/checkpoint.pb.h"
#include "core/checksum.h"
#include "core/file_system.h"
#include "core/placement.h"
#include "core/status.h"
#include "core/tensor.h"
#include "parallel/communicator.h"

namespace photon {

// A part of a tensor that this rank owns. Over all ranks the parts cover every element exactly once (checked).
struct TensorPart {
  std::string section;  // "model" or "optimizer": which file it goes to, so that readers of one skip the other
  std::string name;
  Shape global_shape;
  Region region;  // where `value` lies in the global tensor
  Tensor value;   // contiguous, on the host
};

struct CheckpointContents {
  RunConfig config;
  RunState state;
  std::string tokenizer_name;  // file name in the checkpoint; empty: none
  std::string tokenizer_bytes;
  std::vector<TensorPart> parts;
  std::optional<InitFrom> init_from;
};

// Writes one; every rank calls it with its own parts (rank 0's config, state and tokenizer count). OK means that the
// bytes are on disk under the final name. It replaces a checkpoint at `dir`, also a broken one in a run's folder, and
// refuses any other folder there. On failure (disk full: kResourceExhausted) the temporary folder is removed
// and whatever stood at `dir` before is untouched; all ranks return the same status.
absl::Status WriteCheckpoint(Communicator& comm, const std::string& dir, const CheckpointContents& contents,
                             FileSystem& files = RealFileSystem());

class CheckpointReader {
 public:
  // Reads the manifest. kNotFound / kDataLoss with the file's name and the remedy.
  static absl::StatusOr<CheckpointReader> Open(const std::string& dir);

  const Manifest& manifest() const { return manifest_; }
  const std::string& dir() const { return dir_; }
  const ManifestTensor* Find(absl::string_view name) const;
  absl::StatusOr<std::string> ReadTokenizer() const;  // bytes; kNotFound where there is none

  // Checks sizes and checksums of this rank's share of the files of `section` (all where empty), every rank agreeing.
  absl::Status Verify(Communicator& comm, absl::string_view section) const;
  // The same for one file of the manifest, without other ranks.
  absl::Status VerifyFile(const ManifestFile& file, const BytesRead& progress = {}) const;
  // Fills `out` (contiguous, host, the tensor's dtype) with `region` of tensor `name`, whatever shards it was written
  // in.
  absl::Status Read(absl::string_view name, const Region& region, const Tensor& out) const;

 private:
  std::string dir_;
  Manifest manifest_;
};

// Folders of a run: checkpoints/step-00000200, .., and checkpoints/latest, a relative symbolic link swung by rename.
std::string CheckpointDir(const std::string& run_dir, int64_t step);
// Whether `dir` is CheckpointDir of some run and step: a folder there without a manifest is a broken checkpoint.
bool InRunFolder(const std::string& dir);
// Points `latest` at the checkpoint of `step` and removes the oldest complete ones but `keep_last` (0: all stay) and
// that of step `also_keep`.
absl::Status PublishCheckpoint(const std::string& run_dir, int64_t step, int keep_last,
                               FileSystem& files = RealFileSystem(), int64_t also_keep = -1);
// What --checkpoint takes: a run folder (its newest) or a checkpoint folder.
absl::StatusOr<std::string> ResolveCheckpoint(const std::string& path);
// Step folders of a run, newest first: where one is refused, the next is tried. Saves never leave half of one under
// such a name, but copying may: Open refuses it, and it still marks the folder as that of a run.
std::vector<std::string> ListCheckpoints(const std::string& run_dir);

}  // namespace photon
