#!/bin/bash
# Trains the models of docs/mode-quality.md: both encoder scopes, alpha 0 and 0.3, three seeds, 20 M tokens of novels each,
# first in sequences of 4,096 tokens, then of 33,792. Hours; the same call goes on where it was stopped.
#   git clone https://github.com/computationalstylistics/100_english_novels novels
#   bench/drift/train.sh novels/corpus runs/drift
# One model a core; WORKERS=4 for other machines.
set -euo pipefail
if [[ $# -ne 2 || ! -d $1 ]]; then sed -n '2,6s/^# \?//p' "$0" >&2; exit 2; fi
here=$(dirname "${BASH_SOURCE[0]}")
photon=${PHOTON:-$here/../../build/photon}
workers=${WORKERS:-$(env -u OMP_NUM_THREADS nproc)}
corpus=$1 out=$2
export OMP_NUM_THREADS=1
mkdir -p "$out/data/held"

# Sixteen novels of sixteen authors are kept from training.
held=(Barclay_Postern_1911 Bennet_Helen_1910 Burnett_Lord_1886 Chesterton_Napoleon_1904 Conrad_Almayer_1895
  Corelli_Romance_1886 Doyle_Hound_1902 Ford_Girl_1907 Forster_Angels_1905 Gissing_Warburton_1903 Haggard_Mines_1885
  Kipling_Captains_1896 Lee_Albany_1884 Morris_Wood_1894 Stevenson_Treasure_1883 Trollope_Warden_1855)
data=$out/data
if [[ ! -e $data/valid.idx ]]; then
  for name in "${held[@]}"; do cp "$corpus/$name.txt" "$data/held/"; done
  inputs=()
  for file in "$corpus"/*.txt; do
    if [[ ! -e $data/held/$(basename "$file") ]]; then inputs+=("$file"); fi
  done
  "$photon" prepare --input "${inputs[@]}" --train-tokenizer 2048 --out "$data/train"
  "$photon" prepare --input "$data/held/*.txt" --tokenizer "$data/train.tokenizer.model" --out "$data/valid"
fi

# train SCOPE ALPHA SEED
train() {
  local name=$out/$1-alpha$2-seed$3
  local options=(--config "$here/model.textproto" --resume --set "model.encoder_scope=$1" --set "training.objective.alpha=$2"
    --set "training.seed=$3" --set "data.train=$data/train" --set "data.valid=$data/valid")
  if [[ ! -e $name/short/finished ]]; then
    "$photon" train "${options[@]}" --set "run_dir=$name/short" --set "data.seed=$3"
    # A run that a signal ended has saved and is no failure, but there is nothing to go on from yet: 255 ends xargs.
    if [[ ! -e $name/short/finished ]]; then exit 255; fi
  fi
  if [[ ! -e $name/finished ]]; then
    "$photon" train "${options[@]}" --init-from "$name/short" --set "run_dir=$name" --set "data.seed=$((100 + $3))" \
      --set data.sequence_length=33792 --set training.steps=110 --set training.batch_sequences=1 \
      --set training.optimizer.peak_lr=3e-4 --set training.optimizer.warmup_steps=10 --set training.valid_every=0 \
      --set training.valid_sequences=8 --set checkpoint.every=50
    if [[ ! -e $name/finished ]]; then exit 255; fi
  fi
}
export -f train
export here photon data out
for scope in GLOBAL GROUP; do
  for seed in 1 2 3; do
    for alpha in 0 0.3; do printf '%s %s %s\n' $scope $alpha $seed; done
  done
done | xargs -P "$workers" -L 1 bash -euc 'train "$@" >>"$out/$1-alpha$2-seed$3.log" 2>&1' train
echo "all models are trained: $out"
