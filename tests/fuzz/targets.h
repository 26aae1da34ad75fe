// What fuzzers feed: functions that take any bytes and return. A crash, a failed check, an exception that escapes, much
// memory or much time for a small input is a bug of what they call.
#pragma once

#include "absl/strings/string_view.h"

namespace photon::fuzz {

void FuzzChatRequest(absl::string_view bytes);
void FuzzCompletionRequest(absl::string_view bytes);
void FuzzConfigOverride(absl::string_view bytes);
void FuzzCorpusLines(absl::string_view bytes);
void FuzzGgufVocabulary(absl::string_view bytes);
void FuzzHttpConnection(absl::string_view bytes);
void FuzzJsonLines(absl::string_view bytes);
void FuzzManifest(absl::string_view bytes);
void FuzzModelJson(absl::string_view bytes);
void FuzzRunConfig(absl::string_view bytes);
void FuzzSafetensors(absl::string_view bytes);
void FuzzSentencePiece(absl::string_view bytes);
void FuzzTokenFile(absl::string_view bytes);
void FuzzTokenFileInfo(absl::string_view bytes);
void FuzzTokenizerJson(absl::string_view bytes);

}  // namespace photon::fuzz
