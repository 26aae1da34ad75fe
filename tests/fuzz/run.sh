#!/bin/bash
# Builds the fuzzers with clang and runs each for so long, one after the other; prints what they found.
#   tests/fuzz/run.sh [SECONDS] [NAME..]     600 seconds each, all of them, where nothing else is said
#   tests/fuzz/run.sh --keep                 of all inputs that reach new code, the few that reach all of it become tests
# Inputs that reach new code are kept in build-fuzz/corpus/NAME, findings in build-fuzz/findings/NAME. What a finding taught
# belongs into tests/fuzz/corpus/NAME, small: build-fuzz/tests/fuzz/fuzz_NAME -minimize_crash=1 -runs=100000 FILE.
# JOBS=2: so many fuzzers at once. Exit code 1: something was found.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

case "${1:-}" in
  -h | --help) sed -n '2,7s/^# \?//p' "${BASH_SOURCE[0]}"; exit 0 ;;
esac
seconds=${1:-600}
shift || true
archive=tests/fuzz/grown_corpus.tar.zst
if [[ "$seconds" == --keep && $# != 0 ]]; then
  echo "--keep writes the corpora of all fuzzers: no names behind it" >&2
  exit 2
fi
for compiler in clang++-14 clang++; do
  command -v "$compiler" >/dev/null && break
done
if ! command -v "$compiler" >/dev/null; then
  echo "clang++ is not there: apt-get install clang-14 libclang-rt-14-dev libomp-14-dev" >&2
  exit 2
fi
cmake -S . -B build-fuzz -G Ninja -DPHOTON_FUZZ=ON -DCMAKE_CXX_COMPILER="$compiler" \
      -DCMAKE_C_COMPILER="${compiler/++/}" >/dev/null
names=("$@")
if [[ ${#names[@]} == 0 ]]; then
  for folder in tests/fuzz/corpus/*/; do names+=("$(basename "$folder")"); done
fi
ninja -C build-fuzz "${names[@]/#/fuzz_}"

# Containers go to and from the distribution's libraries, which are not instrumented.
export ASAN_OPTIONS=detect_container_overflow=0
if [[ "$seconds" == --keep ]]; then
  kept=$(mktemp -d)
  trap 'rm -rf "$kept"' EXIT
  for name in "${names[@]}"; do
    mkdir "$kept/$name"
    "build-fuzz/tests/fuzz/fuzz_$name" -set_cover_merge=1 "$kept/$name" "build-fuzz/corpus/$name" "tests/fuzz/corpus/$name" \
      >/dev/null 2>&1
    echo "$name: $(find "$kept/$name" -type f | wc -l) inputs"
  done
  tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$kept" -cf - "${names[@]}" | zstd -19 -q -f -o "$archive"
  exit 0
fi

# Where a run of before left nothing, it goes on from what was kept.
mkdir -p build-fuzz/corpus
if [[ -z "$(ls build-fuzz/corpus)" && -f "$archive" ]]; then
  zstd -dc "$archive" | tar -C build-fuzz/corpus -xf -
fi
# A small input that takes a quarter of a gigabyte or ten seconds is a finding too.
fuzz() {
  local name=$1
  mkdir -p "build-fuzz/corpus/$name" "build-fuzz/findings/$name"
  "build-fuzz/tests/fuzz/fuzz_$name" -max_total_time="$seconds" -timeout=10 -malloc_limit_mb=256 \
    -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="build-fuzz/findings/$name/" \
    "build-fuzz/corpus/$name" "tests/fuzz/corpus/$name" >"build-fuzz/findings/$name.log" 2>&1
}
found=0
running=0
for name in "${names[@]}"; do
  (
    if fuzz "$name"; then
      echo "$name: nothing in $(sed -n 's/^stat::number_of_executed_units: *//p' "build-fuzz/findings/$name.log") runs"
    else
      echo "$name: FOUND $(grep -m1 -oE '(ERROR|SUMMARY|runtime error|check failed).*' "build-fuzz/findings/$name.log" |
        cut -c1-200) (build-fuzz/findings/$name.log)"
      exit 1
    fi
  ) &
  running=$((running + 1))
  if ((running >= ${JOBS:-1})); then
    wait -n || found=1
    running=$((running - 1))
  fi
done
while ((running > 0)); do
  wait -n || found=1
  running=$((running - 1))
done
exit "$found"
