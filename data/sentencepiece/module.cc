// Compiled into the module that data/sentencepiece/api.h describes. Includes nothing of Abseil: SentencePiece's headers
// declare an absl::string_view of their own.
#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <exception>
#include <string>
#include <unordered_map>
#include <vector>

#include "data/sentencepiece/api.h"

namespace photon {
namespace {

using sentencepiece::SentencePieceProcessor;

SentencePieceProcessor& Model(void* model) { return *static_cast<SentencePieceProcessor*>(model); }

void* Load(const char* bytes, size_t size, BytesSink error, void* user) {
  auto* model = new SentencePieceProcessor;
  const auto status = model->LoadFromSerializedProto({bytes, size});
  if (status.ok()) return model;
  const std::string message = status.ToString();
  error(user, message.data(), message.size());
  delete model;
  return nullptr;
}

PieceKind Piece(void* model, int32_t id, BytesSink text, void* user) {
  const std::string& piece = Model(model).IdToPiece(id);
  text(user, piece.data(), piece.size());
  if (Model(model).IsControl(id)) return PieceKind::kControl;
  if (Model(model).IsUnknown(id)) return PieceKind::kUnknown;
  return Model(model).IsByte(id) ? PieceKind::kByte : PieceKind::kText;
}

bool Encode(void* model, const char* text, size_t size, IdsSink ids, void* user) {
  std::vector<int> result;
  if (!Model(model).Encode({text, size}, &result).ok()) return false;
  ids(user, result.data(), result.size());
  return true;
}

bool Decode(void* model, const int32_t* ids, size_t count, BytesSink text, void* user) {
  std::string result;
  if (!Model(model).Decode(std::vector<int>(ids, ids + count), &result).ok()) return false;
  text(user, result.data(), result.size());
  return true;
}

class Sentences : public sentencepiece::SentenceIterator {
 public:
  Sentences(SentenceSource source, void* user) : source_(source), user_(user) { Next(); }
  bool done() const override { return done_; }
  void Next() override {
    const char* data = nullptr;
    size_t size = 0;
    done_ = !source_(user_, &data, &size);
    if (!done_) value_.assign(data, size);
  }
  const std::string& value() const override { return value_; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  SentenceSource source_;
  void* user_;
  std::string value_;
  bool done_ = false;
};

bool Train(const char* const* options, size_t count, SentenceSource source, void* source_user, BytesSink model,
           void* model_user, BytesSink error, void* error_user) {
  std::unordered_map<std::string, std::string> arguments;
  for (size_t i = 0; i + 1 < count; i += 2) arguments[options[i]] = options[i + 1];
  Sentences sentences(source, source_user);
  std::string serialized;
  std::string message;
  try {
    const auto status = sentencepiece::SentencePieceTrainer::Train(arguments, &sentences, &serialized);
    if (!status.ok()) message = status.ToString();
  } catch (const std::exception& failure) {  // nothing may be thrown across namespaces
    message = failure.what();
  }
  if (!message.empty()) {
    error(error_user, message.data(), message.size());
    return false;
  }
  model(model_user, serialized.data(), serialized.size());
  return true;
}

}  // namespace
}  // namespace photon

extern "C" __attribute__((visibility("default"))) const photon::SentencePieceApi* PhotonSentencePiece() {
  using namespace photon;
  static constexpr SentencePieceApi kApi = {
      .load = Load,
      .destroy = [](void* model) { delete &Model(model); },
      .size = [](void* model) -> int32_t { return Model(model).GetPieceSize(); },
      .bos = [](void* model) -> int32_t { return Model(model).bos_id(); },
      .eos = [](void* model) -> int32_t { return Model(model).eos_id(); },
      .piece = Piece,
      .score = [](void* model, int32_t id) { return Model(model).GetScore(id); },
      .encode = Encode,
      .decode = Decode,
      .train = Train,
  };
  return &kApi;
}
