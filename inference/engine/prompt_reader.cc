#include "inference/engine/prompt_reader.h"

#include <algorithm>

#include "core/ops/elementwise.h"

namespace photon {

void PromptReader::Add(ActiveRequest* request) {
  if (store_ != nullptr) store_->Touch(request->request.prompt, Units(*request));
  queue_.push_back(request);
}

int64_t PromptReader::Units(const ActiveRequest& request) const {
  return decoder_.UnitTokens(static_cast<int64_t>(request.request.prompt.size()));
}

int64_t PromptReader::Left(const ActiveRequest& request) const {
  const int64_t read = request.read.has_value() ? static_cast<int64_t>(request.read->tokens.size()) : Kept(request);
  return Units(request) - read;
}

int64_t PromptReader::Kept(const ActiveRequest& request) const {
  return store_ == nullptr ? 0 : store_->Length(request.request.prompt, Units(request));
}

void PromptReader::Begin(ActiveRequest& request, const Begun& begun) {
  const std::vector<int32_t>& prompt = request.request.prompt;
  const int64_t kept = Kept(request);
  request.read.emplace();
  if (kept > 0) {
    request.read->state = store_->Copy(prompt, kept, &request.read->last);
    request.read->tokens.assign(prompt.begin(), prompt.begin() + kept);
  } else {
    request.read->state = decoder_.NewState(0);
  }
  begun(request, kept);
}

// Not while one of the group reads what this one could take from the store afterwards.
bool PromptReader::CanJoin(const ActiveRequest& request, absl::Span<ActiveRequest* const> group) const {
  if (store_ == nullptr) return true;
  const std::vector<int32_t>& own = request.request.prompt;
  const int64_t kept = Kept(request), units = Units(request), unit = decoder_.prompt_unit();
  return std::none_of(group.begin(), group.end(), [&](const ActiveRequest* other) {
    const std::vector<int32_t>& its = other->request.prompt;
    const int64_t most = std::min(units, Units(*other));
    const auto differs = std::mismatch(own.begin(), own.begin() + most, its.begin()).first;
    return (differs - own.begin()) / unit * unit > kept;
  });
}

// Whoever has least left, of those that nothing is gained for by waiting.
ActiveRequest* PromptReader::Shortest() const {
  ActiveRequest* shortest = queue_.front();
  if (queue_.size() == 1) return shortest;
  int64_t least = Left(*shortest);
  std::vector<ActiveRequest*> before = {shortest};
  for (auto next = std::next(queue_.begin()); next != queue_.end(); ++next) {
    ActiveRequest* const request = *next;
    const int64_t left = Left(*request);
    if (left < least && (request->read.has_value() || CanJoin(*request, before))) {
      shortest = request;
      least = left;
    }
    before.push_back(request);
  }
  return shortest;
}

// Requests that read the same number of tokens each, `most` together: `first`, and others that have as many left.
std::vector<ActiveRequest*> PromptReader::NextGroup(ActiveRequest* first, int64_t most, int64_t* each,
                                                    const Begun& begun) {
  if (!first->read.has_value()) Begin(*first, begun);
  const int64_t unit = decoder_.prompt_unit(), slice = std::max(most / unit * unit, unit);
  *each = std::min(Left(*first), slice);
  std::vector<ActiveRequest*> group = {first};
  for (ActiveRequest* next : queue_) {
    if (next == first) continue;
    if (static_cast<int64_t>(group.size() + 1) * *each > most) break;
    if (!CanJoin(*next, group)) break;
    if (!next->read.has_value()) Begin(*next, begun);
    if (Left(*next) < *each) break;
    group.push_back(next);
  }
  return group;
}

void PromptReader::ReadUnits(absl::Span<ActiveRequest* const> group, int64_t each) {
  std::vector<DecodingState*> states;
  std::vector<int32_t> tokens;
  for (ActiveRequest* request : group) {
    const auto begin = request->request.prompt.begin() + static_cast<int64_t>(request->read->tokens.size());
    tokens.insert(tokens.end(), begin, begin + each);
    request->read->tokens.insert(request->read->tokens.end(), begin, begin + each);
    states.push_back(&request->read->state);
  }
  const Tensor last = decoder_.ReadUnits(states, tokens);
  if (!last.defined() || store_ == nullptr) return;
  const int64_t units = each / decoder_.prompt_unit();
  for (size_t i = 0; i < group.size(); ++i) {
    const auto row = static_cast<int64_t>(i) * units;
    // Rows of its own: what the store keeps of one request must not hold those of the others.
    const Tensor own = decoder_.context().Empty({units, last.dim(1)}, last.dtype());
    ops::Cast(decoder_.context(), last.Rows(row, row + units), own);
    for (int64_t u = 0; u < units; ++u) group[i]->read->last.push_back(own.Rows(u, u + 1));
  }
}

std::vector<ActiveRequest*> PromptReader::Read(int64_t tokens, int64_t room, const Begun& begun) {
  std::vector<ActiveRequest*> whole;
  tokens = std::max(tokens, 2 * decoder_.prompt_unit());
  const int64_t of_the_first = tokens / 2;
  while (tokens > 0 && !queue_.empty()) {
    int64_t each = 0;
    ActiveRequest* const first = tokens > of_the_first ? Shortest() : queue_.front();
    const int64_t most = first == queue_.front() ? tokens : tokens - of_the_first;
    const std::vector<ActiveRequest*> group = NextGroup(first, most, &each, begun);
    if (each > 0) ReadUnits(group, each);
    tokens -= std::max<int64_t>(each * static_cast<int64_t>(group.size()), decoder_.prompt_unit());
    for (ActiveRequest* request : group) {
      if (Left(*request) > 0) continue;
      if (store_ != nullptr) store_->Keep(*request->read, room);
      whole.push_back(request);
      Remove(request);
    }
  }
  if (whole.empty()) return whole;
  std::vector<DecodingState*> states;
  std::vector<absl::Span<const int32_t>> rests;
  for (ActiveRequest* request : whole) {
    states.push_back(&request->read->state);
    rests.push_back(absl::MakeConstSpan(request->request.prompt).subspan(request->read->tokens.size()));
  }
  decoder_.ReadRest(states, rests);
  return whole;
}

}  // namespace photon
