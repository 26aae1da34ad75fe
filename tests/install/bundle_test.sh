#!/bin/bash
# A bundle of what is built: its size, and that its programs start where nothing of ours is.
#   bundle_test.sh BUILD SOURCE
set -euo pipefail
build=$1 source=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$source/launch/bundle.sh" --build "$build" --tests "$folder/bundle"
size=$(du -sm "$folder/bundle" | cut -f 1)
[[ $size -le 60 ]] || { echo "the bundle takes $size MB, more than 60" >&2; exit 1; }
clean=(env -i HOME="$folder" PATH=/usr/bin:/bin)
"${clean[@]}" "$folder/bundle/photon" --version
"${clean[@]}" "$folder/bundle/build/tests/core_test" --gtest_filter='Philox*' --gtest_brief=1
"${clean[@]}" "$folder/bundle/bench/gpu.sh" --list | tail -n 1
