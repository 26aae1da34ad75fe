// Requests as tokens, cut where lm-evaluation-harness cuts them (lm_eval/api/model.py, lm_eval/utils.py).
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "inference/eval/task.h"

namespace photon::eval {

// The log-likelihood asked for is that of the last `scored` tokens, given all before them: 1 <= scored < tokens.size().
struct TokenRequest {
  std::vector<int32_t> tokens;
  int64_t scored;
};

struct RequestEncoding {
  std::function<std::vector<int32_t>(absl::string_view)> encode;  // a text alone
  int32_t prefix = 0;          // what the first token is conditioned on where there is no context: begin-of-text
  bool leading_prefix = true;  // contexts begin with it too, as documents do in training (add_bos_token)
  int64_t max_length = 0;      // tokens that the model reads at most; 0: any number
};

// TemplateLM._encode_pair: white space at the context's end goes to the continuation; the continuation is what
// encoding both together adds to the context's tokens. Longer requests lose their beginning: as many tokens stay as
// there are places, max_length, and the last one, which is only scored. kInvalidArgument for a continuation that adds
// no token or is longer than max_length.
absl::StatusOr<TokenRequest> EncodeRequest(const TextRequest& request, const RequestEncoding& encoding);

// loglikelihood_rolling: every token of the text scored once, the first behind `prefix`, in windows of max_length; the
// last window reaches back as far as it may. None for an empty text.
std::vector<TokenRequest> EncodeRolling(absl::string_view text, const RequestEncoding& encoding);

}  // namespace photon::eval
