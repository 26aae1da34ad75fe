// Checkpoints of made-up tensors, whose every element is a function of the tensor's name and the element's global
// index, written by ranks that are threads.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "checkpoint/store.h"
#include "core/random.h"
#include "tests/support/temporary_folder.h"

namespace photon::testing {

inline std::string Slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

inline void Spill(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

// Runs `body` on `ranks` threads; each returns its status.
inline std::vector<absl::Status> OnRanks(int ranks, const std::function<absl::Status(Communicator&)>& body) {
  auto comms = ThreadCommunicators(ranks);
  std::vector<absl::Status> statuses(ranks);
  std::vector<std::thread> threads;
  for (int r = 0; r < ranks; ++r) threads.emplace_back([&, r] { statuses[r] = body(*comms[r]); });
  for (std::thread& thread : threads) thread.join();
  return statuses;
}

struct SampleTensor {
  std::string section, name;
  Shape shape;
  DType dtype = DType::kF32;
};

// Odd sizes; a vector, a matrix, three dimensions; every dtype that training stores.
inline std::vector<SampleTensor> SampleTensors() {
  return {{"model", "level.1.encoder.layers.0.attention.q_proj.weight", Shape{7, 5}},
          {"model", "lm_head.weight", Shape{13, 3}},
          {"model", "norm.weight", Shape{11}, DType::kF64},
          {"model", "cube", Shape{3, 4, 5}},
          {"optimizer", "optimizer.m.lm_head.weight", Shape{13, 3}},
          {"optimizer", "optimizer.count", Shape{6}, DType::kI64}};
}

// Exact in every dtype: below 2^24.
inline int64_t SampleValue(const std::string& name, int64_t index) { return (StableHash(name) % 1000) * 1000 + index; }

inline int64_t GlobalIndex(const Shape& shape, const std::vector<int64_t>& at) {
  int64_t index = 0;
  for (int d = 0; d < shape.rank(); ++d) index = index * shape[d] + at[d];
  return index;
}

// Calls f(global index) for the elements of `region`, row-major.
inline void ForEach(const Shape& global, const Region& region, const std::function<void(int64_t)>& f) {
  std::vector<int64_t> at = region.offset;
  for (int64_t i = 0, n = region.shape.elements(); i < n; ++i) {
    f(GlobalIndex(global, at));
    for (int d = global.rank() - 1; d >= 0; --d) {
      if (++at[d] < region.offset[d] + region.shape[d]) break;
      at[d] = region.offset[d];
    }
  }
}

// Memory for the values of parts, which only view it.
class PartList {
 public:
  void Add(const SampleTensor& tensor, const Region& region) {
    std::vector<char>& bytes = memory_.emplace_back(region.shape.elements() * ByteSize(tensor.dtype));
    char* out = bytes.data();
    ForEach(tensor.shape, region, [&](int64_t index) {
      const int64_t value = SampleValue(tensor.name, index);
      const auto put = [&](auto v) { memcpy(out, &v, sizeof(v)), out += sizeof(v); };
      tensor.dtype == DType::kF64   ? put(static_cast<double>(value))
      : tensor.dtype == DType::kI64 ? put(value)
      : tensor.dtype == DType::kU16 ? put(static_cast<uint16_t>(value))
                                    : put(static_cast<float>(value));
    });
    parts.push_back(
        {tensor.section, tensor.name, tensor.shape, region, Tensor::Wrap(bytes.data(), region.shape, tensor.dtype)});
  }
  std::vector<TensorPart> parts;

 private:
  std::deque<std::vector<char>> memory_;
};

enum class Layout { kRows, kColumns, kFlat, kWholeByTurns };

// Which part of every tensor rank r of n owns.
inline void AddShare(PartList& list, const SampleTensor& tensor, int ordinal, Layout layout, int r, int n) {
  const Shape& shape = tensor.shape;
  const std::vector<int64_t> zero(shape.rank(), 0);
  if (layout == Layout::kWholeByTurns) {
    if (ordinal % n == r) list.Add(tensor, Region{zero, shape});
    return;
  }
  if (layout == Layout::kFlat) {  // element ranges, as a sharded optimizer cuts them: one box an element row piece
    const int64_t total = shape.elements(), last = shape[shape.rank() - 1];
    for (int64_t i = total * r / n; i < total * (r + 1) / n;) {
      Region region{zero, Shape(std::vector<int64_t>(shape.rank(), 1))};
      int64_t rest = i;
      for (int d = shape.rank() - 1; d >= 0; --d) region.offset[d] = rest % shape[d], rest /= shape[d];
      const int64_t run = std::min(last - i % last, total * (r + 1) / n - i);
      region.shape[shape.rank() - 1] = run;
      list.Add(tensor, region);
      i += run;
    }
    return;
  }
  const int dim = layout == Layout::kRows ? 0 : shape.rank() - 1;
  Region region{zero, shape};
  region.offset[dim] = shape[dim] * r / n;
  region.shape[dim] = shape[dim] * (r + 1) / n - region.offset[dim];
  list.Add(tensor, region);
}

inline RunConfig SampleConfig() {
  RunConfig config;
  config.mutable_model()->set_vocab_size(13);
  config.mutable_model()->set_layers(1);
  return config;
}

inline const std::string& SampleTokenizer() {
  static const std::string bytes = std::string("\0\x01tokenizer\nbytes\xff", 19);
  return bytes;
}

inline absl::Status WriteSample(Communicator& comm, const std::string& dir, Layout layout, int64_t step,
                                const std::vector<SampleTensor>& tensors = SampleTensors()) {
  PartList list;
  for (size_t i = 0; i < tensors.size(); ++i) AddShare(list, tensors[i], i, layout, comm.rank(), comm.size());
  CheckpointContents contents;
  contents.config = SampleConfig();
  contents.state.set_step(step);
  contents.state.set_grad_norm_mean(0.1);
  contents.tokenizer_name = "tokenizer.model";
  contents.tokenizer_bytes = SampleTokenizer();
  contents.parts = list.parts;
  return WriteCheckpoint(comm, dir, contents);
}

inline void WriteSample(const std::string& dir, int ranks = 1, Layout layout = Layout::kRows, int64_t step = 1) {
  for (const absl::Status& status :
       OnRanks(ranks, [&](Communicator& comm) { return WriteSample(comm, dir, layout, step); })) {
    ASSERT_TRUE(status.ok()) << status;
  }
}

// Reads a region and compares every element.
inline void ExpectRegion(const CheckpointReader& reader, const SampleTensor& tensor, const Region& region) {
  std::vector<char> bytes(region.shape.elements() * ByteSize(tensor.dtype) + 1);  // + 1: data() of none is null
  const absl::Status status = reader.Read(tensor.name, region, Tensor::Wrap(bytes.data(), region.shape, tensor.dtype));
  ASSERT_TRUE(status.ok()) << status;
  const char* in = bytes.data();
  int64_t wrong = 0;
  ForEach(tensor.shape, region, [&](int64_t index) {
    double value;
    if (tensor.dtype == DType::kF32) {
      float v;
      memcpy(&v, in, sizeof(v)), value = v;
    } else if (tensor.dtype == DType::kF64) {
      memcpy(&value, in, sizeof(value));
    } else {
      int64_t v;
      memcpy(&v, in, sizeof(v)), value = static_cast<double>(v);
    }
    in += ByteSize(tensor.dtype);
    wrong += value != static_cast<double>(SampleValue(tensor.name, index));
  });
  EXPECT_EQ(wrong, 0) << tensor.name;
}

inline void ExpectSample(const std::string& dir) {
  const auto reader = CheckpointReader::Open(dir);
  ASSERT_TRUE(reader.ok()) << reader.status();
  const absl::Status verified = reader->Verify(*SelfCommunicator(), "");
  ASSERT_TRUE(verified.ok()) << verified;
  for (const SampleTensor& tensor : SampleTensors()) {
    ExpectRegion(*reader, tensor, Region{std::vector<int64_t>(tensor.shape.rank(), 0), tensor.shape});
  }
}

inline std::vector<std::string> FilesIn(const std::string& dir) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(dir, error)) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace photon::testing
