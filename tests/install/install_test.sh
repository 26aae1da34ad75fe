#!/bin/bash
# An installation that was moved prepares, trains on two ranks and generates, with its own parts.
#   install_test.sh BUILD-FOLDER SOURCE-FOLDER
set -euo pipefail
build=$1 source=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cmake --install "$build" --prefix "$work/first" >/dev/null
mkdir "$work/elsewhere"
mv "$work/first" "$work/elsewhere/photon"
prefix=$work/elsewhere/photon
cd "$work"
. "$prefix/share/photon/launch/mpi_env.sh"
export OMP_NUM_THREADS=1

fail() { echo "install_test: $*" >&2; exit 1; }
for i in {1..400}; do echo "and god said let there be light $i and there was light"; done >text
LD_DEBUG=files LD_DEBUG_OUTPUT=$work/loaded "$prefix/bin/photon" prepare --input text --train-tokenizer 320 --out tokens
grep -qF "$prefix/lib/photon_sentencepiece.so" "$work"/loaded.* || fail "the tokenizer's module is not the installed one"
mpirun -n 2 "$prefix/bin/photon" train --config "$prefix/share/photon/configs/tiny.textproto" --set data.train=tokens \
  --set model.vocab_size=320 --set training.steps=4 --set data.valid_fraction=0 --set run_dir=run
[[ -e run/finished ]] || fail "the run has not left its mark"
"$prefix/bin/photon" generate --checkpoint run --prompt light --max-new-tokens 4 >/dev/null
"$prefix/bin/photon" submit --dry-run --config "$prefix/share/photon/configs/tiny.textproto" | grep -q "^photon='$prefix/bin/photon'$" ||
  fail "photon submit names another program"
diff -r "$source/docs" "$prefix/share/photon/docs" || fail "docs differ"
[[ ! -e $build/libphoton_cuda.so || -e $prefix/lib/libphoton_cuda.so ]] || fail "the CUDA module is missing"
[[ -z $(find "$prefix" -name '*.cc' -o -name '*.proto') ]] || fail "sources were installed"
