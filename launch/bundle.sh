#!/bin/bash
# Packs the program and its libraries into one folder that runs on another x86-64 Linux with glibc 2.36 or newer, with no
# MPI, HDF5 or other packages of ours there. cuBLASLt and NCCL (half a gigabyte) are taken from that machine.
#   launch/bundle.sh [--build DIR] [--tests] [OUT]     OUT: the folder to make, photon-bundle unless given
#     --build DIR   pack what is built there; else a build for any x86-64-v3 processor is made in build-bundle
#     --tests       the tests and benchmarks of the GPU too (OUT/gpu.sh runs them)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

build="" tests=OFF out=photon-bundle
while [[ $# -gt 0 ]]; do
  case "$1" in
    -h | --help) sed -n '2,6s/^# \?//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    --build) build=${2:?--build needs a folder}; shift ;;
    --tests) tests=ON ;;
    -*) echo "bundle.sh: no option \"$1\" (see --help)" >&2; exit 2 ;;
    *) out=$1 ;;
  esac
  shift
done
if [[ -e $out ]]; then
  echo "bundle.sh: $out exists already; remove it, or name another folder" >&2
  exit 2
fi

programs=(photon)
[[ $tests == ON ]] && programs+=(tests/core_test bench/{attention,decode,decode_heavy,elementwise,matmul,rows,train_step})
modules=(photon_sentencepiece.so libphoton_cuda.so)
if [[ -z $build ]]; then
  build=build-bundle
  launch/install_dependencies.sh test
  cmake -S . -B $build -G Ninja -DPHOTON_ARCH=x86-64-v3 -DPHOTON_CUDA=ON -DPHOTON_TESTS=$tests >$build.log 2>&1 ||
    { cat $build.log >&2; exit 1; }
  targets=("${programs[@]/#bench\//bench_}")
  ninja -C $build "${targets[@]/#tests\//}" photon_cuda photon_sentencepiece
fi

mkdir -p "$out/programs"
unpacked=$(mktemp -d)
trap 'rm -rf "$unpacked"' EXIT
for file in "${programs[@]}" "${modules[@]}"; do
  install -m 755 --strip "$build/$file" "$out/programs/"
done

# Every library that these ask for, but those that belong to the system and to the GPU.
leave='^(linux-vdso|ld-linux|libc|libm|libpthread|libdl|librt|libresolv|libcublasLt|libcublas|libnccl|libcuda)[.-]'
for file in "$out"/programs/*; do ldd "$file"; done | awk '$3 ~ "^/" { print $1, $3 }' | sort -u |
  while read -r name path; do
    [[ $name =~ $leave ]] || install -m 644 "$path" "$unpacked/$name"
  done
# What Open MPI loads by itself.
mkdir "$unpacked/openmpi"
cp "$(dirname "$(find /usr/lib -name mca_ess_singleton.so | head -n 1)")"/*.so "$unpacked/openmpi/"
# Compressed, it is half the size; the first start unpacks it.
tar -C "$unpacked" -czf "$out/libraries.tar.gz" .

install -m 755 launch/bundle/run.sh "$out/photon"
install -m 644 launch/bundle/README.md "$out/"
cp -r configs "$out/configs" && rm -f "$out"/configs/*.{cc,h,proto,txt}
cp LICENSE THIRD_PARTY.md "$out/"
if [[ $tests == ON ]]; then
  install -m 755 bench/gpu.sh "$out/gpu.sh"
  cp -r bench/peers "$out/peers"
fi
git describe --always --dirty >"$out/commit" 2>/dev/null || true
du -sm "$out" | awk '{ print $2 ": " $1 " MB" }'
