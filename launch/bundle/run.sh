#!/bin/bash
# Starts a program of this bundle ("photon" unless PHOTON_PROGRAM names another) with the libraries that lie beside it and
# this machine's CUDA libraries.
#   ./photon train ..      PHOTON_PROGRAM=core_test ./photon ..
set -euo pipefail
here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)

# The first start unpacks; where the folder can't be written, into the user's cache.
libraries=$here/unpacked
if [[ ! -d $libraries ]]; then
  [[ -w $here ]] || libraries=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/photon/$(cksum <"$here/programs.tar.gz" | tr -d ' ')
  if [[ ! -d $libraries ]]; then
    mkdir -p "$(dirname "$libraries")"
    half=$(mktemp -d "$libraries.XXXXXX")
    tar -xzf "$here/programs.tar.gz" -C "$half"
    if [[ -f $here/checks.tar.xz ]]; then python3 -m tarfile -e "$here/checks.tar.xz" "$half" 2>/dev/null || true; fi
    mv -T "$half" "$libraries" 2>/dev/null || rm -rf "$half"  # another process was faster
  fi
fi

# cuBLASLt and NCCL: the system's, the toolkit's, or those of Python packages (PyTorch brings them).
paths=$libraries
found() { [[ -n $(find -L "$1" -maxdepth 1 -name "$2" -print -quit 2>/dev/null) ]]; }
for library in libcublasLt.so.13 libnccl.so.2; do
  ldconfig -p 2>/dev/null | grep -q "$library" && continue
  for folder in ${LD_LIBRARY_PATH:+${LD_LIBRARY_PATH//:/ }} /usr/local/cuda/lib64 \
                $(python3 -c 'import nvidia, glob
for root in nvidia.__path__: print(*glob.glob(root + "/*/lib"))' 2>/dev/null); do
    if found "$folder" "$library"; then paths+=:$folder; break; fi
  done
done
export LD_LIBRARY_PATH=$paths${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
# One process alone: no daemon, no search for networks, components from here.
export OMPI_MCA_mca_base_component_path=$libraries/openmpi OMPI_MCA_ess_singleton_isolated=1
export OMPI_MCA_mca_base_component_show_load_errors=0  # some are for networks whose libraries this machine may lack
export OMPI_MCA_pml=${OMPI_MCA_pml:-ob1} OMPI_MCA_btl=${OMPI_MCA_btl:-self}
export GOMP_SPINCOUNT=${GOMP_SPINCOUNT:-10000}
exec "$libraries/programs/${PHOTON_PROGRAM:-photon}" "$@"
