#!/bin/bash
# Measures how far `rec` and `hier-parallel` drift, for the models of bench/drift/train.sh that are trained: one file of
# figures for each model and mode, in OUT/drift. A second call measures what is new.
#   bench/drift/measure.sh runs/drift
#   python3 bench/drift/summary.py runs/drift/drift --plot drift.png
set -euo pipefail
if [[ $# -ne 1 || ! -d $1/data/held ]]; then sed -n '2,5s/^# \?//p' "$0" >&2; exit 2; fi
photon=${PHOTON:-$(dirname "${BASH_SOURCE[0]}")/../../build/photon}
out=$1
mkdir -p "$out/drift"
texts=()
for file in "$out"/data/held/*.txt; do texts+=(--text "$file"); done

# measure MODEL MODE PREFIX LENGTHS
measure() {
  local file=$out/drift/$(basename "$1").$2-$3.json
  if [[ -e $file ]]; then return; fi
  "$photon" eval --checkpoint "$1" --drift "$2" "${texts[@]}" --prefix "$3" --lengths "$4" --output "$file.part"
  mv "$file.part" "$file"
}
for finished in "$out"/*/finished; do
  model=$(dirname "$finished")
  measure "$model" rec 1024 1024,4096,32768
  measure "$model" hier-parallel 1024 1024,4096,32768
  measure "$model" rec 0 4096  # states that never saw a text: what is left when all memory is lost
done
