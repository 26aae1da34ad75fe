#include "checkpoint/manifest.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>

#include <algorithm>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "core/checksum.h"

namespace photon {
namespace {

constexpr char kHeading[] = "# photon checkpoint ";
constexpr char kHashName[] = "xxh3-128";
constexpr int64_t kMostFileBytes = int64_t{1} << 50;  // so that all files' fit 64 bits

// Keeps the first complaint of the text parser instead of printing it.
class FirstError : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, int column, const std::string& message) override {
    if (text_.empty()) text_ = absl::StrCat("line ", line + 1, ": ", message);
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

absl::Status BadChecksum() {
  return absl::DataLossError("the checksum in the first line does not fit the rest: the file is damaged");
}

// A file of the folder: no path that leads out of it ("..", "/etc/passwd").
absl::Status CheckPlainName(const std::string& name) {
  if (!name.empty() && name[0] != '.' && name.find('/') == std::string::npos) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("not a file name: \"", name, "\""));
}

// What later code relies on: names that stay inside the folder, known dtypes, shards that make up their tensor.
absl::Status CheckStructure(const Manifest& manifest) {
  for (const ManifestFile& file : manifest.files()) {
    PHOTON_RETURN_IF_ERROR(CheckPlainName(file.name()));
    if (file.bytes() < 0 || file.bytes() > kMostFileBytes) {
      return absl::DataLossError(absl::StrCat(file.name(), " can't have ", file.bytes(), " bytes"));
    }
  }
  if (manifest.has_tokenizer()) PHOTON_RETURN_IF_ERROR(CheckPlainName(manifest.tokenizer()));
  const std::string* previous = nullptr;
  for (const ManifestTensor& tensor : manifest.tensors()) {
    if (previous != nullptr && *previous >= tensor.name()) return absl::DataLossError("tensors are not in order");
    previous = &tensor.name();
    DType dtype;
    bool good = ParseDType(tensor.dtype(), &dtype) && StorableDType(dtype) && tensor.shape_size() > 0;
    for (const ManifestShard& shard : tensor.shards()) {
      PHOTON_RETURN_IF_ERROR(CheckPlainName(shard.file()));
      good = good && shard.offset_size() == tensor.shape_size() && shard.shape_size() == tensor.shape_size();
    }
    if (!good) return absl::DataLossError(absl::StrCat("tensor ", tensor.name(), " is described wrongly"));
    if (const absl::Status covered = CheckCoverage(tensor); !covered.ok()) {
      return absl::DataLossError(covered.message());
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::string ManifestToText(const Manifest& manifest) {
  std::string body;
  google::protobuf::TextFormat::PrintToString(manifest, &body);
  return absl::StrCat(kHeading, kCheckpointFormat, " ", kHashName, " ", Checksum(body), "\n", body);
}

absl::StatusOr<Manifest> ManifestFromText(const std::string& text) {
  const size_t line_end = text.find('\n');
  absl::string_view heading(text.data(), line_end == std::string::npos ? 0 : line_end);
  if (!absl::ConsumePrefix(&heading, kHeading)) return BadChecksum();
  const std::vector<std::string> words = absl::StrSplit(heading, ' ');
  const std::string body = text.substr(line_end + 1);
  int version = 0;
  if (words.size() != 3 || !absl::SimpleAtoi(words[0], &version) || words[1] != kHashName) return BadChecksum();
  if (words[2] != Checksum(body)) return BadChecksum();
  if (words[0] != absl::StrCat(kCheckpointFormat)) {
    return absl::FailedPreconditionError(
        absl::StrCat("checkpoint format ", version, "; this program reads format ", kCheckpointFormat,
                     " (if it is not a newer program's, the checksum line is damaged)"));
  }
  Manifest manifest;
  FirstError errors;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&errors);
  if (!parser.ParseFromString(body, &manifest)) {
    return absl::FailedPreconditionError(
        absl::StrCat(errors.text(), "; the file is intact, so a newer program wrote it: use that one"));
  }
  PHOTON_RETURN_IF_ERROR(CheckStructure(manifest));
  return manifest;
}

Shape GlobalShape(const ManifestTensor& tensor) { return Shape(absl::MakeConstSpan(tensor.shape())); }

Region ShardRegion(const ManifestShard& shard) {
  return Region{{shard.offset().begin(), shard.offset().end()}, Shape(absl::MakeConstSpan(shard.shape()))};
}

bool StorableDType(DType dtype) {
  return dtype == DType::kF64 || dtype == DType::kF32 || dtype == DType::kI64 || dtype == DType::kI32 ||
         dtype == DType::kU8;
}

bool Overlap(const Region& a, const Region& b) {
  for (int d = 0; d < a.shape.rank(); ++d) {
    if (std::max(a.offset[d], b.offset[d]) >= std::min(a.offset[d] + a.shape[d], b.offset[d] + b.shape[d]))
      return false;
  }
  return true;
}

Region Intersect(const Region& a, const Region& b) {
  Region both;
  if (!Overlap(a, b)) return both;
  both.shape = a.shape;
  for (int d = 0; d < a.shape.rank(); ++d) {
    both.offset.push_back(std::max(a.offset[d], b.offset[d]));
    both.shape[d] = std::min(a.offset[d] + a.shape[d], b.offset[d] + b.shape[d]) - both.offset[d];
  }
  return both;
}

std::string ToString(const Region& region) {
  return absl::StrCat(region.shape.ToString(), " at [", absl::StrJoin(region.offset, ", "), "]");
}

absl::Status CheckCoverage(const ManifestTensor& tensor) {
  const Shape global = GlobalShape(tensor);
  // Four times the largest matrix that a config may ask for, and few enough that bytes of all tensors fit 64 bits.
  constexpr int64_t kMostElements = int64_t{1} << 44;
  int64_t elements = 1;
  for (const int64_t size : global.dims()) {
    if (size < 0 || __builtin_mul_overflow(elements, std::max<int64_t>(size, 1), &elements) ||
        elements > kMostElements) {
      return absl::InternalError(absl::StrCat("tensor ", tensor.name(), " can't have the shape ", global.ToString()));
    }
  }
  std::vector<Region> regions;
  for (const ManifestShard& shard : tensor.shards()) {
    regions.push_back(ShardRegion(shard));
    const Region& region = regions.back();
    bool inside = true;
    for (int d = 0; d < global.rank(); ++d) {
      inside =
          inside && region.offset[d] >= 0 && region.shape[d] > 0 && region.shape[d] <= global[d] - region.offset[d];
    }
    if (!inside) {
      return absl::InternalError(absl::StrCat("tensor ", tensor.name(), " ", global.ToString(), ": part ",
                                              ToString(region), " in ", shard.file(), " lies outside it"));
    }
  }
  std::sort(regions.begin(), regions.end(), [](const Region& a, const Region& b) { return a.offset[0] < b.offset[0]; });
  for (size_t i = 0; i < regions.size(); ++i) {
    for (size_t j = i + 1; j < regions.size() && regions[j].offset[0] < regions[i].offset[0] + regions[i].shape[0];
         ++j) {
      if (!Overlap(regions[i], regions[j])) continue;
      return absl::InternalError(absl::StrCat("tensor ", tensor.name(), " ", global.ToString(), ": parts ",
                                              ToString(regions[i]), " and ", ToString(regions[j]), " overlap"));
    }
  }
  int64_t covered = 0;  // no more than there is, as no two overlap
  for (const Region& region : regions) covered += region.shape.elements();
  if (covered != global.elements()) {
    return absl::InternalError(absl::StrCat("tensor ", tensor.name(), " ", global.ToString(), ": its parts cover ",
                                            covered, " of ", global.elements(), " elements"));
  }
  return absl::OkStatus();
}

}  // namespace photon
