// Collectives as operations on the tape: what tensor and chunk parallelism put between the parts of a model.
//
// A Var is *whole* where every rank of the group has the same value, and then its gradient is whole on every rank too;
// a *part* where each rank has its own rows (equal in number, rank by rank); *partial* where the value is the sum over
// the ranks. All ranks run the same operations in the same order, forward and backward.
//
// A collective that fails ends the job with a message: in the middle of a step there is nothing to go back to, and the
// other ranks wait inside theirs.
#pragma once

#include "absl/strings/string_view.h"
#include "core/tape.h"
#include "parallel/communicator.h"

namespace photon {

// What the ranks compute from a gathered value: all the same, so that each has its whole gradient; or each a part, so
// that the gradient is their sum.
enum class Then : uint8_t { kSame, kParts };

// part [n, W] -> [size n, W], in the type `dtype`. Backward: a rank's own rows (kSame), or a reduce-scatter (kParts).
Var AllGatherRows(Tape& tape, Communicator& group, absl::string_view what, const Var& part, Then then, DType dtype);
inline Var AllGatherRows(Tape& tape, Communicator& group, absl::string_view what, const Var& part, Then then) {
  return AllGatherRows(tape, group, what, part, then, part.value.dtype());
}
// partial [size n, W] -> part [n, W]. Backward: an all-gather.
Var ReduceScatterRows(Tape& tape, Communicator& group, absl::string_view what, const Var& partial);
// whole [size n, W] -> part [n, W]. Backward: an all-gather.
Var TakeRows(Tape& tape, Communicator& group, absl::string_view what, const Var& whole);
// partial -> whole. Backward: nothing to do.
Var SumPartial(Tape& tape, Communicator& group, absl::string_view what, const Var& partial);
// whole -> the same, of which every rank goes on to compute a part. Backward: an all-reduce.
Var ToParts(Tape& tape, Communicator& group, absl::string_view what, const Var& whole);
// Every rank's x [n, W] to the next one: [n, W] of the rank before; on rank 0 zeros. Backward: the other way.
Var FromRankBefore(Tape& tape, Communicator& group, absl::string_view what, const Var& x);

// Ends the job where `status` is an error.
void OrAbort(Communicator& group, const absl::Status& status);

}  // namespace photon
