#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/str_cat.h"
#include "checkpoint/safetensors.h"
#include "core/dtype.h"
#include "core/file.h"
#include "core/json_depth.h"

namespace photon {
namespace {

using Json = nlohmann::json;

constexpr int64_t kMaxHeader = 100 << 20;  // the format's own limit

struct Type {
  absl::string_view name;
  int64_t bytes;
  bool readable;
};
constexpr Type kTypes[] = {{"F32", 4, true},  {"F64", 8, true},  {"F16", 2, true},  {"BF16", 2, true},
                           {"I64", 8, false}, {"I32", 4, false}, {"I16", 2, false}, {"I8", 1, false},
                           {"U8", 1, false},  {"BOOL", 1, false}};

const Type* FindType(absl::string_view name) {
  const auto* at = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const Type& t) { return t.name == name; });
  return at == std::end(kTypes) ? nullptr : at;
}

absl::Status ReadAll(int fd, const std::string& path, int64_t offset, char* out, int64_t size) {
  PHOTON_ASSIGN_OR_RETURN(const int64_t count, ReadAt(fd, path, offset, out, size));
  if (count < size) return absl::InvalidArgumentError(absl::StrCat(path, " ends early: copy it again"));
  return absl::OkStatus();
}

float HalfToFloat(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1fu, fraction = bits & 0x3ffu;
  if (exponent == 0) {  // zero and subnormals: fraction * 2^-24, exact in f32
    const float value = static_cast<float>(fraction) * 0x1p-24f;
    return sign ? -value : value;
  }
  const uint32_t wide = exponent == 31 ? 255 : exponent + 112;  // 127 - 15
  return std::bit_cast<float>(sign | wide << 23 | fraction << 13);
}

template <typename T, typename F>
void Convert(const char* in, absl::Span<float> out, F&& convert) {
  for (size_t i = 0; i < out.size(); ++i) {
    T value;
    memcpy(&value, in + i * sizeof(T), sizeof(T));
    out[i] = convert(value);
  }
}

bool NonNegative(const Json& value) { return value.is_number_unsigned(); }  // fits 64 bits; the parser's doubles don't

// One entry of the header, or what is wrong with it.
absl::StatusOr<SafetensorsEntry> ParseEntry(const std::string& name, const Json& json) {
  const auto wrong = [&](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat("tensor \"", name, "\": ", what));
  };
  if (!json.is_object() || !json.contains("dtype") || !json.contains("shape") || !json.contains("data_offsets") ||
      json.size() != 3) {
    return wrong("wants exactly dtype, shape and data_offsets");
  }
  const Json &dtype = json["dtype"], &shape = json["shape"], &offsets = json["data_offsets"];
  if (!dtype.is_string() || FindType(dtype.get<std::string>()) == nullptr)
    return wrong(absl::StrCat("unknown dtype ", dtype.dump()));
  if (!shape.is_array() || !std::all_of(shape.begin(), shape.end(), NonNegative)) return wrong("malformed shape");
  if (!offsets.is_array() || offsets.size() != 2 || !std::all_of(offsets.begin(), offsets.end(), NonNegative)) {
    return wrong("malformed data_offsets");
  }
  SafetensorsEntry entry;
  entry.name = name;
  entry.dtype = dtype.get<std::string>();
  std::vector<int64_t> dims;
  int64_t bytes = FindType(entry.dtype)->bytes;
  for (const Json& d : shape) {
    dims.push_back(d.get<int64_t>());
    if (dims.back() < 0 || __builtin_mul_overflow(bytes, dims.back(), &bytes)) return wrong("shape is too large");
  }
  entry.shape = Shape(absl::MakeConstSpan(dims));
  entry.begin = offsets[0].get<int64_t>();
  entry.end = offsets[1].get<int64_t>();
  if (entry.begin < 0 || entry.end < entry.begin || entry.end - entry.begin != bytes) {
    return wrong(absl::StrCat("data_offsets span ", entry.end - entry.begin, " bytes, ", entry.dtype,
                              entry.shape.ToString(), " takes ", bytes));
  }
  return entry;
}

// Parses, refusing a key that occurs twice (the library would silently take the last).
absl::StatusOr<Json> ParseHeader(const std::string& text) {
  if (JsonTooDeep(text)) {
    return absl::InvalidArgumentError(absl::StrCat("the header nests deeper than ", kMostJsonDepth, " levels"));
  }
  std::vector<std::set<std::string>> keys;
  std::string repeated;
  const auto watch = [&](int, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second)
      repeated = parsed.dump();
    return true;
  };
  Json header = Json::parse(text, watch, /*allow_exceptions=*/false);
  if (!header.is_object()) return absl::InvalidArgumentError("the header is not a JSON object");
  if (!repeated.empty()) return absl::InvalidArgumentError(absl::StrCat("the header names ", repeated, " twice"));
  return header;
}

absl::Status ParseMetadata(const Json& json, std::map<std::string, std::string>& metadata) {
  if (!json.is_object()) return absl::InvalidArgumentError("__metadata__ is not an object");
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string()) return absl::InvalidArgumentError("__metadata__ holds something that is no string");
    metadata[key] = value.get<std::string>();
  }
  return absl::OkStatus();
}

// Entries in the order of their data; together they cover it exactly.
absl::Status CheckLayout(std::vector<SafetensorsEntry>& entries, int64_t data_bytes) {
  std::sort(entries.begin(), entries.end(), [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
  });
  int64_t position = 0;
  for (const SafetensorsEntry& entry : entries) {
    if (entry.begin != position) {
      return absl::InvalidArgumentError(absl::StrCat("tensor \"", entry.name, "\" begins at byte ", entry.begin, ", ",
                                                     entry.begin < position ? "inside another one" : "after a hole",
                                                     " (expected ", position, ")"));
    }
    position = entry.end;
  }
  if (position == data_bytes) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the header describes ", position, " bytes of data, the file has ", data_bytes));
}

}  // namespace

absl::StatusOr<SafetensorsReader> SafetensorsReader::Open(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return FileError(errno, "cannot open", path);
  SafetensorsReader reader;
  reader.path_ = path;
  reader.file_ = std::shared_ptr<const int>(new int(fd), [](const int* f) {
    close(*f);
    delete f;
  });
  const auto wrong = [&](absl::string_view what) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is no good safetensors file: ", what));
  };
  struct stat info;
  if (fstat(fd, &info) != 0) return FileError(errno, "cannot read", path);
  if (!S_ISREG(info.st_mode)) return wrong("not a regular file");
  if (info.st_size < 8) return wrong("shorter than the 8 bytes of a header's length");
  uint64_t length;
  PHOTON_RETURN_IF_ERROR(ReadAll(fd, path, 0, reinterpret_cast<char*>(&length), 8));
  if (length > kMaxHeader || static_cast<int64_t>(length) > info.st_size - 8) {
    return wrong(absl::StrCat("a header of ", length, " bytes does not fit"));
  }
  std::string text(length, '\0');
  PHOTON_RETURN_IF_ERROR(ReadAll(fd, path, 8, text.data(), length));
  absl::StatusOr<Json> header = ParseHeader(text);
  if (!header.ok()) return wrong(header.status().message());
  for (const auto& [name, json] : header->items()) {
    if (name == "__metadata__") {
      if (const absl::Status s = ParseMetadata(json, reader.metadata_); !s.ok()) return wrong(s.message());
      continue;
    }
    absl::StatusOr<SafetensorsEntry> entry = ParseEntry(name, json);
    if (!entry.ok()) return wrong(entry.status().message());
    reader.entries_.push_back(*std::move(entry));
  }
  reader.data_ = 8 + static_cast<int64_t>(length);
  if (const absl::Status s = CheckLayout(reader.entries_, info.st_size - reader.data_); !s.ok())
    return wrong(s.message());
  return reader;
}

const SafetensorsEntry* SafetensorsReader::Find(absl::string_view name) const {
  for (const SafetensorsEntry& entry : entries_) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

absl::Status SafetensorsReader::Read(const SafetensorsEntry& entry, absl::Span<float> out) const {
  if (!FindType(entry.dtype)->readable) {
    return absl::InvalidArgumentError(
        absl::StrCat(path_, ": tensor ", entry.name, " is ", entry.dtype, "; weights are F32, F64, F16 or BF16"));
  }
  PHOTON_CHECK_EQ(static_cast<int64_t>(out.size()), entry.shape.elements()) << entry.name;
  if (entry.dtype == "F32") {
    return ReadAll(*file_, path_, data_ + entry.begin, reinterpret_cast<char*>(out.data()), entry.end - entry.begin);
  }
  std::vector<char> raw(entry.end - entry.begin);
  PHOTON_RETURN_IF_ERROR(ReadAll(*file_, path_, data_ + entry.begin, raw.data(), raw.size()));
  if (entry.dtype == "F64") {
    Convert<double>(raw.data(), out, [](double v) { return static_cast<float>(v); });
  } else if (entry.dtype == "F16") {
    Convert<uint16_t>(raw.data(), out, HalfToFloat);
  } else {
    Convert<BFloat16>(raw.data(), out, [](BFloat16 v) { return static_cast<float>(v); });
  }
  return absl::OkStatus();
}

}  // namespace photon
