// Copies from global to shared memory that arrive late (cp.async), one list a thread.
//
// From its issue until the thread's wait the target holds NaN bytes: a program may neither count on the old data nor on
// the new. The source is read at the wait.
#pragma once

namespace photon::simt {

void BeginCopies(int threads);  // of a block; forgets all
void QueueCopy(void* shared, const void* global, int bytes, bool valid);
void CommitCopies();
void WaitForCopies(int pending);
// Thread `thread` ended. Copies that it never waited for are lost.
void DropCopies(int thread);

}  // namespace photon::simt
