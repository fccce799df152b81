#!/bin/sh
# Makes mien-small from nothing: prepare, train, export, calibrate, measure.
#
#   recipes/mien-small.sh DATA RUN
#
# DATA holds faces/ and celebs/ (photos to learn from; the last 40 people of celebs/ are kept for
# the threshold), teacher/mobilefacenet-ms1m.onnx and lfw/ (for the figure that is reported).
# RUN is where everything goes; what was stopped goes on when the same line is given again.
set -eu
data=$1 run=$2
mkdir -p "$run/learned" "$run/held-out"
for person in $(ls "$data/celebs" | head -n -40); do
    ln -sfn "$(realpath "$data/celebs/$person")" "$run/learned/$person"
done
for person in $(ls "$data/celebs" | tail -n 40); do
    ln -sfn "$(realpath "$data/celebs/$person")" "$run/held-out/$person"
done
# Photos without a face are skipped, which the exit code 3 says.
mien prepare "$data/faces" "$run/learned" --out "$run/data" || [ $? -eq 3 ]

mien train -d "$run/data" --out "$run/run" -net seesaw_shuffle --loss none \
    --teacher "$data/teacher/mobilefacenet-ms1m.onnx" --block-steps 600 --steps 2400 -b 32 \
    --optimizer adamw -lr 1e-3 --schedule cosine --warmup 50 --weight-decay 1e-4 --last-decay 1e-4 \
    --augment crop,flip,light,low_resolution,blur,jpeg,grey
mien export "$run/run/last.safetensors" "$run/mien-small.onnx"
mien calibrate "$run/mien-small.onnx" "$run/held-out" --fmr 1e-3 --json > "$run/calibration.json" ||
    [ $? -eq 3 ]
mien export "$run/run/last.safetensors" "$run/mien-small.onnx" --calibration "$run/calibration.json"
mien evaluate "$run/mien-small.onnx" "$data/lfw/pairsDevTest.txt"
mien evaluate "$run/mien-small.onnx" "$data/lfw/pairs.txt" --report "$run/lfw.html" --json \
    > "$run/lfw.json"
