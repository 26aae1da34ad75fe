#!/bin/bash
# One scenario of scenarios.py, on several hosts that are network namespaces of this machine.
#   run.sh PHOTON CACHE SCENARIO
# All of it lives in namespaces of its own (processes, mounts, network), which the kernel takes away with everything in them
# however this ends; nothing outside is touched, and several may run at once.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

skip() { echo "skipped: $*"; exit 0; }
[[ $(id -u) -eq 0 ]] || skip "needs root, to make network namespaces"
for tool in ip nsenter mpirun slurmctld slurmd srun python3; do
  command -v "$tool" >/dev/null || skip "there is no $tool: launch/install_dependencies.sh cluster"
done
namespaces=(unshare --mount --propagation private --net --uts --ipc --pid --fork --kill-child --mount-proc)
"${namespaces[@]}" sh -c 'mount -t tmpfs none /run && ip netns add probe' 2>/dev/null ||
  skip "this machine (a container?) lets root make no namespaces"
exec "${namespaces[@]}" python3 "$here/scenarios.py" "$@"
