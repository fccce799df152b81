#!/usr/bin/env bash
# Compares networks and losses in equal, short trainings, three of each; two and a half hours on
# two cores.
#
#   recipes/ablation.sh CELEBS PAIRS RUNS [DISTILLED]
#
# CELEBS holds a folder of photos for each person; the last 40 are kept to measure on, the others
# are learned from.  PAIRS is LFW's pairsDevTest.txt, beside its images/.  RUNS is where everything
# goes; give the same line again to go on.  DISTILLED is a seesaw_shuffle checkpoint to start from,
# in a second round; without it there is one round, from scratch.  As many trainings go on at once
# as there are processors, which is faster than one after another on all of them; JOBS says another
# number (1, on a GPU).  What is set in TRAIN replaces the short recipe: with CELEBS a folder of
# MS1MV2, TRAIN="-e 16 -b 196" is SeesawFaceNet's own.
set -euo pipefail
celebs=$1 pairs=$2 distilled=${4:-}
processors=$(getconf _NPROCESSORS_ONLN)
jobs=${JOBS:-$processors}
short="-b 64 --steps 120 --schedule cosine --warmup 20 --augment flip,crop --clip 5"
export runs=$3 distilled
export threads=$((processors > jobs ? processors / jobs : 1))
export scratch=${TRAIN:-"$short -lr 0.1"} further=${TRAIN:-"$short -lr 0.01"}
mkdir -p "$runs/held-out"

if [ -f "$celebs/train.rec" ]; then
    mien prepare "$celebs" --out "$runs/data"
else
    ls "$celebs" | head -n -40 > "$runs/people.txt"
    for person in $(ls "$celebs" | tail -n 40); do
        ln -sfn "$(realpath "$celebs/$person")" "$runs/held-out/$person"
    done
    # Photos without a face are skipped, which the exit code 3 says.
    mien prepare "$celebs" --people "$runs/people.txt" --out "$runs/data" || [ $? -eq 3 ]
fi

# One training: network, loss, numbers in an embedding, start, seed.
one() {
    set -euo pipefail
    local name=$4-$1-$2-$3-$5 recipe=$scratch
    [ -f "$runs/$name/$name.onnx" ] && return
    [ "$4" = scratch ] || recipe="$further --weights $distilled"
    echo "$name" >&2
    mien train -d "$runs/data" --out "$runs/$name" -net "$1" --loss "$2" --dim "$3" \
        --seed "$5" --precision float32 --threads "$threads" $recipe > "$runs/$name.log" 2>&1
    mien export "$runs/$name/last.safetensors" "$runs/$name/$name.onnx" >> "$runs/$name.log"
}
export -f one

# SeesawFaceNet's own first; slim_seesaw is the network of the rebuilt system, slim_seesaw_stage
# ours, which is lighter.
kinds="seesaw_shuffle arcface 512
seesaw_shuffle liarcface 512
slim_seesaw liarcface 512
slim_seesaw_stage liarcface 512
seesaw_shuffle cosface 512
seesaw_shuffle arcface 128
seesaw_shuffle liarcface 128"

for seed in 0 1 2; do
    for start in scratch ${distilled:+distilled}; do
        sed "s/$/ $start $seed/" <<< "$kinds"
    done | xargs -L 1 -P "$jobs" bash -c 'one "$@"' one
    models=("$runs"/*-"$seed"/*.onnx)
    mien evaluate "${models[@]}" "$pairs" --threshold 0.3 --json > "$runs/lfw-$seed.json" ||
        [ $? -eq 3 ]
    if [ -n "$(ls "$runs/held-out")" ]; then
        mien evaluate "${models[@]}" "$runs/held-out" --threshold 0.3 --json \
            > "$runs/celebs-$seed.json" || [ $? -eq 3 ]
    fi
    python -m benchmarks embed "$runs"/scratch-*-0/*.onnx --batch 1 --threads 1 --json > "$runs/embed.json"
    python "$(dirname "$0")/ablation.py" "$runs"
done
