// Reads prompts in slices; several short ones together. One half of a slice goes to whoever has least left, so that a
// long prompt doesn't hold up short ones, the other half to whoever came first, so that it is read all the same. What
// an earlier prompt began with is taken from the store; of prompts that begin alike and come together, the first is
// read before the others begin.
#pragma once

#include <deque>
#include <functional>
#include <vector>

#include "inference/engine/active_request.h"
#include "inference/engine/prefix_store.h"

namespace photon {

class PromptReader {
 public:
  // `store` may be null: nothing is shared.
  PromptReader(const Decoder& decoder, PrefixStore* store) : decoder_(decoder), store_(store) {}

  void Add(ActiveRequest* request);  // what it begins with counts as used now, and stays in the store the longer
  void Remove(const ActiveRequest* request) { std::erase(queue_, request); }
  bool waiting() const { return !queue_.empty(); }  // whether a prompt is to be read, or read on

  // Reads about so many tokens, a unit of either half at least. Returns the requests whose prompts are read now.
  // `begun` is told of those whose reading begins, and how many of their tokens the store had. `room`: bytes that the
  // store may hold.
  using Begun = std::function<void(ActiveRequest&, int64_t reused)>;
  std::vector<ActiveRequest*> Read(int64_t tokens, int64_t room, const Begun& begun);

 private:
  int64_t Units(const ActiveRequest& request) const;  // tokens that are read as units
  int64_t Left(const ActiveRequest& request) const;   // of these, to be read yet
  int64_t Kept(const ActiveRequest& request) const;
  void Begin(ActiveRequest& request, const Begun& begun);
  bool CanJoin(const ActiveRequest& request, absl::Span<ActiveRequest* const> group) const;
  ActiveRequest* Shortest() const;
  std::vector<ActiveRequest*> NextGroup(ActiveRequest* first, int64_t most, int64_t* each, const Begun& begun);
  void ReadUnits(absl::Span<ActiveRequest* const> group, int64_t each);

  const Decoder& decoder_;
  PrefixStore* const store_;
  std::deque<ActiveRequest*> queue_;
};

}  // namespace photon
