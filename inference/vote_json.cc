#include "inference/vote_json.h"

namespace photon {

nlohmann::ordered_json VoteJson(const Vote& vote, size_t continuations) {
  nlohmann::ordered_json json;
  json["answer"] = nullptr;
  if (vote.votes > 0) json["answer"] = vote.answer;
  json["votes"] = vote.votes;
  json["answers"] = vote.answers;
  json["continuations"] = continuations;
  return json;
}

}  // namespace photon
