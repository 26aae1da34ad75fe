#include "inference/eval/encode_request.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "inference/eval/clean_up.h"

namespace photon::eval {

absl::StatusOr<TokenRequest> EncodeRequest(const TextRequest& request, const RequestEncoding& encoding) {
  const absl::string_view context = StripRight(request.context);
  const std::vector<int32_t> whole = encoding.encode(absl::StrCat(request.context, request.continuation));
  const int64_t before = context.empty() ? 0 : static_cast<int64_t>(encoding.encode(context).size());
  TokenRequest result;
  // The harness refuses contexts of white space alone; here the prefix stands for them, as for empty ones.
  if (encoding.leading_prefix || before == 0) result.tokens.push_back(encoding.prefix);
  result.scored = static_cast<int64_t>(whole.size()) - before;
  result.tokens.insert(result.tokens.end(), whole.begin(), whole.end());
  if (result.scored <= 0) {
    return absl::InvalidArgumentError(absl::StrCat("the continuation \"", request.continuation,
                                                   "\" adds no token to its context: there is nothing to score"));
  }
  const int64_t limit = encoding.max_length, size = static_cast<int64_t>(result.tokens.size());
  if (limit > 0 && result.scored > limit) {
    return absl::InvalidArgumentError(absl::StrCat("a continuation is ", result.scored,
                                                   " tokens long, more than --max-length ", limit,
                                                   " lets the model read: give more, or 0 for no limit"));
  }
  if (limit > 0 && size > limit + 1) result.tokens.erase(result.tokens.begin(), result.tokens.end() - (limit + 1));
  return result;
}

std::vector<TokenRequest> EncodeRolling(absl::string_view text, const RequestEncoding& encoding) {
  std::vector<int32_t> tokens = {encoding.prefix};
  for (const int32_t token : encoding.encode(text)) tokens.push_back(token);
  const auto end = static_cast<int64_t>(tokens.size());
  const int64_t limit = encoding.max_length > 0 ? encoding.max_length : end;
  std::vector<TokenRequest> windows;
  for (int64_t scored_from = 1; scored_from < end;) {
    const int64_t window_end = std::min(scored_from + limit, end);
    const int64_t begin = std::max<int64_t>(window_end - limit - 1, 0);
    windows.push_back({{tokens.begin() + begin, tokens.begin() + window_end}, window_end - scored_from});
    scored_from = window_end;
  }
  return windows;
}

}  // namespace photon::eval
