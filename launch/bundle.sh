#!/bin/bash
# Packs the program and its libraries into one folder that runs on another x86-64 Linux with glibc 2.36 or newer, with no
# MPI, HDF5 or other packages of ours there. cuBLASLt and NCCL (half a gigabyte) are taken from that machine.
#   launch/bundle.sh [--build DIR] [--tests] [OUT]     OUT: the folder to make, photon-bundle unless given
#     --build DIR   pack what is built there; else a build for any x86-64-v3 processor is made in build-bundle
#     --tests       the tests and benchmarks of the GPU too (OUT/bench/gpu.sh runs them)
# CUDAARCHS=90a-real in the environment: for Hopper alone, some megabytes less.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

build="" tests=OFF out=photon-bundle
while [[ $# -gt 0 ]]; do
  case "$1" in
    -h | --help) sed -n '2,7s/^# \?//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    --build)
      [[ -n ${2:-} ]] || { echo "bundle.sh: --build needs a folder" >&2; exit 2; }
      build=$2
      shift
      ;;
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

checks=()
[[ $tests == ON ]] && checks+=(tests/{core,inference,model,parallel,train}_test bench/{attention_streams,attention_windows,ceilings}
                               bench/{decode,elementwise,rows,train_step})
modules=(photon_sentencepiece.so libphoton_cuda.so)
if [[ -z $build ]]; then
  build=build-bundle
  launch/install_dependencies.sh test
  cmake -S . -B $build -G Ninja -DPHOTON_ARCH=x86-64-v3 -DPHOTON_CUDA=ON -DPHOTON_TESTS=$tests >$build.log 2>&1 ||
    { cat $build.log >&2; exit 1; }
  targets=("${checks[@]/#bench\//bench_}")
  ninja -C $build photon photon_cuda photon_sentencepiece "${targets[@]/#tests\//}"
fi

for file in photon "${modules[@]}" "${checks[@]}"; do
  if [[ ! -f $build/$file ]]; then
    echo "bundle.sh: $build/$file is not there: build it (ninja -C $build; nvcc must be found, and for --tests configure" \
         "with -DPHOTON_TESTS=ON), or leave --build out" >&2
    exit 2
  fi
done
unpacked=$(mktemp -d)
trap 'rm -rf "$unpacked" "$out"' EXIT  # nothing half-made stays
mkdir -p "$out/build"
mkdir "$unpacked"/{all,all/programs,checks,checks/programs}
for file in photon "${modules[@]}"; do
  install -m 755 --strip "$build/$file" "$unpacked/all/programs/"
done
for file in "${checks[@]}"; do
  install -m 755 --strip "$build/$file" "$unpacked/checks/programs/"
done
# Scripts start programs where a build has them.
for file in photon "${checks[@]}"; do
  mkdir -p "$(dirname "$out/build/$file")"
  printf '#!/bin/bash\nPHOTON_PROGRAM=%s exec "$(dirname "${BASH_SOURCE[0]}")/%s/photon" "$@"\n' "${file##*/}" \
         "$([[ $file == */* ]] && echo ../.. || echo ..)" >"$out/build/$file"
  chmod 755 "$out/build/$file"
done

# Every library that these ask for, but those that belong to the system and to the GPU.
leave='^(linux-vdso|ld-linux|libc|libm|libpthread|libdl|librt|libresolv|libcublasLt|libcublas|libnccl|libcuda)[.-]'
for file in "$unpacked"/*/programs/*; do ldd "$file"; done | awk '$3 ~ "^/" { print $1, $3 }' | sort -u |
  while read -r name path; do
    [[ $name =~ $leave ]] || install -m 644 "$path" "$unpacked/all/$name"
  done
# What Open MPI loads by itself.
mkdir "$unpacked/all/openmpi"
cp "$(dirname "$(find /usr/lib -name mca_ess_singleton.so | head -n 1)")"/*.so "$unpacked/all/openmpi/"
# Compressed, it is half the size; the first start unpacks it.
tar -C "$unpacked/all" -c . | gzip -9 >"$out/programs.tar.gz"
# Tests and benchmarks hold much of the same code, which xz finds; Python, which runs them, unpacks it anywhere.
[[ $tests == OFF ]] || tar -C "$unpacked/checks" -c . | xz -9 -T1 >"$out/checks.tar.xz"

install -m 755 launch/bundle/run.sh "$out/photon"
install -m 644 launch/bundle/README.md "$out/"
cp -r configs "$out/configs" && rm -f "$out"/configs/*.{cc,h,proto,txt}
cp LICENSE THIRD_PARTY.md "$out/"
if [[ $tests == ON ]]; then
  mkdir -p "$out/bench/gpu" "$out/bench/peers"
  install -m 755 bench/gpu.sh "$out/bench/"
  install -m 644 bench/gpu/*.py "$out/bench/gpu/"
  install -m 644 bench/peers/*.py "$out/bench/peers/"
fi
git describe --always --dirty >"$out/commit" 2>/dev/null || true
trap 'rm -rf "$unpacked"' EXIT
du -sm "$out" | awk '{ print $2 ": " $1 " MB" }'
