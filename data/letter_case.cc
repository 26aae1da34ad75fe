#include "data/letter_case.h"

#include <unicode/bytestream.h>
#include <unicode/casemap.h>
#include <unicode/stringoptions.h>

#include "core/check.h"

namespace photon {

std::string Capitalize(absl::string_view text) {
  std::string result;
  icu::StringByteSink<std::string> sink(&result);
  UErrorCode error = U_ZERO_ERROR;
  icu::CaseMap::utf8ToTitle("", U_TITLECASE_WHOLE_STRING | U_TITLECASE_NO_BREAK_ADJUSTMENT, nullptr,
                            icu::StringPiece(text.data(), static_cast<int32_t>(text.size())), sink, nullptr, error);
  PHOTON_CHECK(U_SUCCESS(error)) << "ICU: " << u_errorName(error);
  return result;
}

}  // namespace photon
