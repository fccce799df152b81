#!/bin/sh
# Makes a model that ships from nothing: prepare, train, export, calibrate, measure.
#
#   recipes/model.sh mien-small|mien-tiny|seesaw_fast DATA RUN
#
# DATA holds faces/ and celebs/ (photos to learn from; the last 40 people of celebs/ are kept for
# the threshold), teacher/mobilefacenet-ms1m.onnx and lfw/ (for the figure that is reported).
# RUN is where everything goes, of both models; what was stopped goes on when the same line is given
# again.  Each takes one to two hours on two processors.  seesaw_fast does not ship; it is the
# ninth try of docs/training-log.md, and begins with what mien-small has learned.
set -eu
model=$1 data=$2 run=$3
case $model in
    mien-small)
        set -- seesaw_shuffle --loss none --block-steps 600 --steps 2400 -lr 1e-3 ;;
    mien-tiny)
        set -- seesaw_tiny --loss none --block-steps 600 --steps 9000 -lr 1e-3 ;;
    seesaw_fast)
        set -- seesaw_fast --loss liarcface --teacher-weight 40 --steps 2100 -lr 8e-4 \
            --weights "$run/simple.safetensors" ;;
    *) echo "$model is none of mien-small, mien-tiny, seesaw_fast" >&2; exit 2 ;;
esac
mkdir -p "$run/learned" "$run/held-out"
for person in $(ls "$data/celebs" | head -n -40); do
    ln -sfn "$(realpath "$data/celebs/$person")" "$run/learned/$person"
done
for person in $(ls "$data/celebs" | tail -n 40); do
    ln -sfn "$(realpath "$data/celebs/$person")" "$run/held-out/$person"
done
# Photos without a face are skipped, which the exit code 3 says.
mien prepare "$data/faces" "$run/learned" --out "$run/data" || [ $? -eq 3 ]

if [ "$model" = seesaw_fast ] && ! [ -e "$run/simple.safetensors" ]; then
    python "$(dirname "$0")/simplify.py" \
        "$run/mien-small/last.safetensors" "$run/data" "$run/simple.safetensors"
fi
mien train -d "$run/data" --out "$run/$model" -net "$@" \
    --teacher "$data/teacher/mobilefacenet-ms1m.onnx" -b 32 --optimizer adamw \
    --schedule cosine --warmup 50 --weight-decay 1e-4 --last-decay 1e-4 \
    --augment crop,flip,light,low_resolution,blur,jpeg,grey
mien export "$run/$model/last.safetensors" "$run/$model.onnx"
mien calibrate "$run/$model.onnx" "$run/held-out" --fmr 1e-3 --json > "$run/$model.json" ||
    [ $? -eq 3 ]
mien export "$run/$model/last.safetensors" "$run/$model.onnx" --calibration "$run/$model.json"
mien evaluate "$run/$model.onnx" "$data/lfw/pairsDevTest.txt"
mien evaluate "$run/$model.onnx" "$data/lfw/pairs.txt" --report "$run/$model.html" --json \
    > "$run/$model-lfw.json"
