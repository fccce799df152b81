#!/bin/sh
# Makes a model that ships from nothing: prepare, train, export, calibrate, measure.
#
#   recipes/model.sh mien-small|mien-tiny DATA RUN
#
# DATA holds faces/ and celebs/ (photos to learn from; the last 40 people of celebs/ are kept for
# the threshold), teacher/mobilefacenet-ms1m.onnx and lfw/ (for the figure that is reported).
# RUN is where everything goes, of both models; what was stopped goes on when the same line is given
# again.  On two processors mien-small takes six hours, mien-tiny two and a half.
set -eu
model=$1 data=$2 run=$3
case $model in
    mien-small | mien-tiny) ;;
    *) echo "$model is neither mien-small nor mien-tiny" >&2; exit 2 ;;
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

learn() {
    out=$1
    shift
    mien train -d "$run/data" --out "$run/$out" -net "$@" \
        --teacher "$data/teacher/mobilefacenet-ms1m.onnx" -b 32 --optimizer adamw \
        --schedule cosine --warmup 50 --weight-decay 1e-4 --head-weight-decay 1e-4 \
        --augment crop,flip,light,low_resolution,blur,jpeg,grey
}

if [ "$model" = mien-small ]; then
    # The published network, a faster one made of it, which learns names too, then its teacher alone,
    # twice.
    learn published seesaw_shuffle --loss none --block-steps 600 --steps 2400 -lr 1e-3
    if ! [ -e "$run/simple.safetensors" ]; then
        python "$(dirname "$0")/simplify.py" \
            "$run/published/last.safetensors" "$run/data" "$run/simple.safetensors"
    fi
    learn named seesaw_fast --loss liarcface --teacher-weight 40 --steps 2100 -lr 8e-4 \
        --weights "$run/simple.safetensors"
    learn taught seesaw_fast --loss none --steps 3800 -lr 8e-4 \
        --weights "$run/named/last.safetensors"
    learn "$model" seesaw_fast --loss none --steps 4800 -lr 8e-4 \
        --weights "$run/taught/last.safetensors"
else
    learn "$model" seesaw_tiny --loss none --block-steps 600 --steps 9000 -lr 1e-3
fi
mien export "$run/$model/last.safetensors" "$run/$model.onnx"
mien calibrate "$run/$model.onnx" "$run/held-out" --fmr 1e-3 --out "$run/$model.onnx" ||
    [ $? -eq 3 ]
mien evaluate "$run/$model.onnx" "$data/lfw/pairsDevTest.txt"
mien evaluate "$run/$model.onnx" "$data/lfw/pairs.txt" --report "$run/$model.html" --json \
    > "$run/$model-lfw.json"
