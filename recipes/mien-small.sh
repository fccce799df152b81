#!/bin/sh
# Makes mien-small from nothing: train, export, calibrate, measure; an hour and a half on two cores.
#
#   recipes/mien-small.sh DATA RUN
#
# DATA holds faces/ and celebs/ (photos to learn from; the last 40 people of celebs/ are kept for
# the threshold), teacher/mobilefacenet-ms1m.onnx and lfw/ (for the figure that is reported).
# RUN is the run's folder; a run that was stopped goes on when the same line is given again.
set -eu
data=$1 run=$2
mkdir -p "$run/celebs-held-out"
for person in $(ls "$data/celebs" | tail -n 40); do
    ln -sfn "$(realpath "$data/celebs/$person")" "$run/celebs-held-out/$person"
done
set -- "$data/faces"
for person in $(ls "$data/celebs" | head -n -40); do set -- "$@" "$data/celebs/$person"; done

mien train "$@" --teacher "$data/teacher/mobilefacenet-ms1m.onnx" --out "$run" \
    --block-steps 600 --steps 2400
mien export "$run/last.safetensors" "$run/mien-small.onnx"
mien calibrate "$run/mien-small.onnx" "$run/celebs-held-out" --fmr 1e-3 --json > "$run/calibration.json"
mien export "$run/last.safetensors" "$run/mien-small.onnx" --calibration "$run/calibration.json"
mien evaluate "$run/mien-small.onnx" "$data/lfw/pairsDevTest.txt"
mien evaluate "$run/mien-small.onnx" "$data/lfw/pairs.txt" --pictures "$run/pictures" --json > "$run/lfw.json"
