#!/bin/bash
# Installs the Debian packages that PHOTON needs and that are missing; does nothing, quickly, where all are there.
#   launch/install_dependencies.sh           to build and run
#   launch/install_dependencies.sh test      to build and run the tests too
#   launch/install_dependencies.sh cluster   for the tests of several hosts and of SLURM (tests/cluster)
#   launch/install_dependencies.sh NAME...   these packages
set -euo pipefail

run=(
  g++ cmake ninja-build                                         # build
  libopenmpi-dev openmpi-bin libgloo-dev                        # ranks
  libhdf5-openmpi-dev libxxhash-dev                             # checkpoints and their checksums
  libabsl-dev libprotobuf-dev protobuf-compiler nlohmann-json3-dev libspdlog-dev libcli11-dev
  libdnnl-dev                                                   # matrix products
  libsentencepiece-dev libpcre2-dev libicu-dev                  # tokenizers
  libre2-dev                                                    # answers that are voted on
  zlib1g-dev libzstd-dev libsimdjson-dev                        # corpora
  libcpp-httplib-dev                                            # the server
  gnuplot-nox                                                   # the picture of the loss curve
)
test=(
  libgtest-dev libgmock-dev libbenchmark-dev
  libboost-context-dev                                          # threads of the emulated GPU
  python3 python3-numpy python3-h5py hdf5-tools                 # others' view of our checkpoints
)
cluster=(
  iproute2 util-linux                                           # hosts that are network namespaces
  slurmctld slurmd slurm-client
)

case "${1:-run}" in
  run) wanted=("${run[@]}") ;;
  test) wanted=("${run[@]}" "${test[@]}") ;;
  cluster) wanted=("${cluster[@]}") ;;
  -h | --help) sed -n '2,6s/^# \?//p' "$0"; exit 0 ;;
  *) wanted=("$@") ;;
esac

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "This installs Debian packages, and the system here has no apt-get. Install the likes of these by hand, then" \
       "run cmake -S . -B build -G Ninja && ninja -C build:" >&2
  printf '  %s\n' "${wanted[@]}" >&2
  exit 2
fi

installed=$(dpkg-query -W -f='${db:Status-Abbrev} ${Package}\n' "${wanted[@]}" 2>/dev/null | sed -n 's/^ii *//p' || true)
missing=()
for package in "${wanted[@]}"; do
  grep -qxF -- "$package" <<<"$installed" || missing+=("$package")
done
[[ ${#missing[@]} -eq 0 ]] && exit 0

root=()
if [[ $(id -u) -ne 0 ]]; then
  if ! command -v sudo >/dev/null; then
    echo "Not root, and there is no sudo. As root, run: apt-get install ${missing[*]}" >&2
    exit 2
  fi
  root=(sudo)
  [[ -t 0 ]] || root=(sudo -n)  # without a terminal nobody could type a password
fi

echo "Installing ${#missing[@]} packages: ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() { "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o Dpkg::Use-Pty=0 "$@" </dev/null >>"$log" 2>&1; }
# A failed update alone is no reason to stop: the lists that are there may do.
apt update || true
if ! apt install -y --no-install-recommends "${missing[@]}"; then
  tail -n 20 "$log" >&2
  echo "apt-get could not install: ${missing[*]}. PHOTON is built on Debian 12 and 13; other releases may name them differently." >&2
  exit 2
fi
