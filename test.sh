#!/bin/bash
# Installs what is missing, builds everything and runs the tests.
#   ./test.sh [--all] [ctest arguments]     --all: the long tests too;  ./test.sh -R Attention: these tests only
# PHOTON_TEST_DATA names a folder of third-party data; tests that need it are skipped without. Exit code 0: all passed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

case "${1:-}" in
  -h | --help) sed -n '2,4s/^# \?//p' "${BASH_SOURCE[0]}"; exit 0 ;;
esac
labels=(-LE '^long$')
if [[ "${1:-}" == --all ]]; then
  labels=()
  shift
fi

launch/install_dependencies.sh test
. launch/mpi_env.sh
if [[ -n "${PHOTON_TEST_DATA:-}" ]]; then
  PHOTON_TEST_DATA=$(realpath "$PHOTON_TEST_DATA")  # tests run in other folders
  export PHOTON_TEST_DATA
fi

echo "Building"
mkdir -p build
# Configuring prints a page that only matters when it fails.
if ! cmake -S . -B build -G Ninja -DPHOTON_TESTS=ON >build/configure.log 2>&1; then
  cat build/configure.log >&2
  exit 1
fi
ninja -C build

# ctest runs a test on every core; with more threads than that, they would spin against each other. Tests of threading
# choose their own number. (nproc counts no further than OMP_NUM_THREADS.)
cores=$(env -u OMP_NUM_THREADS nproc)
export OMP_NUM_THREADS=1
# The programs under test start mpirun, which would read what is typed here.
status=0
ctest --test-dir build --output-on-failure --no-tests=error -j "$cores" --output-junit "$PWD/build/tests.xml" \
      "${labels[@]}" "$@" </dev/null || status=$?
python3 tests/summary.py build/tests.xml || status=1
exit "$status"
