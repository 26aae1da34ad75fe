// What every communicator must do, as functions that all ranks of a group run together: on threads in
// tests/parallel/, under mpirun in tests/distributed/.
//
// Each rank's data is a function of (rank, element), so that every rank knows what all others hold, and computes the
// expected result itself, in rank order. Results are compared bit by bit: the order of sums is part of the contract.
#pragma once

#include "parallel/communicator.h"

namespace photon::testing {

void CheckAllReduce(Communicator& comm);  // every dtype, operation and awkward size
void CheckAllReduceNan(Communicator& comm);
void CheckGatherAndScatter(Communicator& comm);  // and in place
void CheckBroadcast(Communicator& comm);         // from every root
void CheckSendReceive(Communicator& comm);       // a ring, every dtype, tags out of order
void CheckPosts(Communicator& comm);      // rings both ways before anybody receives, large ones too; no end too early
void CheckBytesSent(Communicator& comm);  // of every call, to the byte; none for a call that failed
void CheckMessageOfWrongSize(Communicator& comm);
void CheckArguments(Communicator& comm);    // what is refused before anything is sent
void CheckSplit(Communicator& comm);        // two colors, reversed keys, and both groups work
void CheckSmallValues(Communicator& comm);  // AllReduceScalar, BroadcastString, AgreeOn
void CheckMesh(Communicator& comm);
void CheckMeshGroups(Communicator& comm);   // members and order of every group, for all sizes of the axes that fit
void CheckSideChannel(Communicator& comm);  // of all, and of a part beside it

}  // namespace photon::testing
