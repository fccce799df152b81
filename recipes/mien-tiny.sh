#!/bin/sh
# Makes mien-tiny from nothing: prepare, train, export, calibrate, measure.
#
#   recipes/mien-tiny.sh DATA RUN
#
# DATA holds faces/ and celebs/ (photos to learn from; the last 40 people of celebs/ are kept for
# the threshold), teacher/mobilefacenet-ms1m.onnx and lfw/ (for the figure that is reported).
# RUN is where everything goes; what was stopped goes on when the same line is given again.  On two
# processors it takes two and a half hours.
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
mien train -d "$run/data" --out "$run/mien-tiny" -net seesaw_tiny --loss none \
    --teacher "$data/teacher/mobilefacenet-ms1m.onnx" --block-steps 600 --steps 9000 -lr 1e-3 \
    -b 32 --optimizer adamw --schedule cosine --warmup 50 --weight-decay 1e-4 \
    --head-weight-decay 1e-4 --augment crop,flip,light,low_resolution,blur,jpeg,grey
mien export "$run/mien-tiny/last.safetensors" "$run/mien-tiny.onnx"
mien calibrate "$run/mien-tiny.onnx" "$run/held-out" --fmr 1e-3 --out "$run/mien-tiny.onnx" ||
    [ $? -eq 3 ]
mien evaluate "$run/mien-tiny.onnx" "$data/lfw/pairsDevTest.txt"
mien evaluate "$run/mien-tiny.onnx" "$data/lfw/pairs.txt"
