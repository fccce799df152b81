#!/bin/sh
# Compares networks and losses in equal, short trainings, three of each; four hours on two cores.
#
#   recipes/ablation.sh CELEBS PAIRS RUNS [DISTILLED]
#
# CELEBS holds a folder of photos for each person; the last 40 are kept to measure on, the others
# are learned from.  PAIRS is LFW's pairsDevTest.txt, beside its images/.  RUNS is where everything
# goes; give the same line again to go on.  DISTILLED is a seesaw_shuffle checkpoint to start from,
# in a second round; without it there is one round, from scratch.  What is set in TRAIN replaces the
# short recipe: with CELEBS a folder of MS1MV2, TRAIN="-e 16 -b 196" is SeesawFaceNet's own.
set -eu
celebs=$1 pairs=$2 runs=$3 distilled=${4:-}
scratch=${TRAIN:-"-b 64 --steps 180 -lr 0.1 --schedule cosine --warmup 20 --augment flip,crop --clip 5"}
further=${TRAIN:-"-b 64 --steps 180 -lr 0.01 --schedule cosine --warmup 20 --augment flip,crop --clip 5"}
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

# One training: start, network, loss, numbers in an embedding, seed.
one() {
    name=$1-$2-$3-$4-$5 run=$runs/$1-$2-$3-$4-$5
    [ -f "$run/$name.onnx" ] && return
    echo "$name" >&2
    case $1 in
        scratch) mien train -d "$runs/data" --out "$run" -net "$2" --loss "$3" --dim "$4" \
            --seed "$5" --precision float32 $scratch ;;
        distilled) mien train -d "$runs/data" --out "$run" -net "$2" --loss "$3" --dim "$4" \
            --seed "$5" --precision float32 --weights "$distilled" $further ;;
    esac
    mien export "$run/last.safetensors" "$run/$name.onnx"
}

for seed in 0 1 2; do
    for start in scratch ${distilled:+distilled}; do
        one "$start" seesaw_shuffle arcface 512 "$seed"     # SeesawFaceNet's own
        one "$start" seesaw_shuffle liarcface 512 "$seed"
        one "$start" slim_seesaw liarcface 512 "$seed"      # the network of the rebuilt system
        one "$start" slim_seesaw_stage liarcface 512 "$seed"  # ours, which is lighter
        one "$start" seesaw_shuffle cosface 512 "$seed"
        one "$start" seesaw_shuffle arcface 128 "$seed"
        one "$start" seesaw_shuffle liarcface 128 "$seed"
    done
    set -- "$runs"/*-"$seed"/*.onnx
    mien evaluate "$@" "$pairs" --threshold 0.3 --json > "$runs/lfw-$seed.json" || [ $? -eq 3 ]
    if [ -n "$(ls "$runs/held-out")" ]; then
        mien evaluate "$@" "$runs/held-out" --threshold 0.3 --json > "$runs/celebs-$seed.json" ||
            [ $? -eq 3 ]
    fi
    python "$(dirname "$0")/ablation.py" "$runs"
done
