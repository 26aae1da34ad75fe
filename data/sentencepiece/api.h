// The C interface between the program and the module that holds SentencePiece.
//
// Debian's libsentencepiece carries a copy of Protobuf 3.14 and exports its symbols. In one process with the
// distribution's Protobuf 3.21 whichever comes first serves both: the program aborts at start ("compiled against
// version 3.14.0") or corrupts memory. So SentencePiece is linked into a small module, which is loaded into a linker
// namespace of its own (dlmopen) with its own C and C++ run-time libraries. Hence plain C types only: no object that
// one side allocates is freed by the other, and bytes travel through callbacks. Loading takes about 2 ms.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "data/vocabulary.h"

namespace photon {

// Receives a result (or an error message) while the call that produces it runs.
using BytesSink = void (*)(void* user, const char* data, size_t size);
// One whose `user` is a std::string.
inline void AppendBytes(void* user, const char* data, size_t size) {
  static_cast<std::string*>(user)->append(data, size);
}
using IdsSink = void (*)(void* user, const int32_t* ids, size_t count);
// The next training sentence; returns false after the last.
using SentenceSource = bool (*)(void* user, const char** data, size_t* size);

struct SentencePieceApi {
  // A model from its serialized bytes; null, with a message, where it is not one. The other functions may be called by
  // several threads at once.
  void* (*load)(const char* bytes, size_t size, BytesSink error, void* user);
  void (*destroy)(void* model);
  int32_t (*size)(void* model);
  int32_t (*bos)(void* model);  // -1: none
  int32_t (*eos)(void* model);  // -1: none
  PieceKind (*piece)(void* model, int32_t id, BytesSink text, void* user);
  float (*score)(void* model, int32_t id);
  bool (*encode)(void* model, const char* text, size_t size, IdsSink ids, void* user);
  bool (*decode)(void* model, const int32_t* ids, size_t count, BytesSink text, void* user);
  // Trains with the given options (name, value, name, value, ...); passes the serialized model to `model`.
  bool (*train)(const char* const* options, size_t count, SentenceSource source, void* source_user, BytesSink model,
                void* model_user, BytesSink error, void* error_user);
};

// The module's functions, or null and a message. Loads the module once: beside the program, else where it was built.
const SentencePieceApi* LoadSentencePiece(const char** error);

}  // namespace photon
