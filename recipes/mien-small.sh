#!/bin/sh
# Makes mien-small from nothing: everyday faces, two teachers, balanced targets.
#
#   recipes/mien-small.sh FAIRFACE TEACHERS PEOPLE RUN [STEPS [WEIGHTS]]
#
# FAIRFACE holds train/, val/ and labels.csv (file, age, sex, group); TEACHERS mobilefacenet-ms1m.onnx
# and faceplugin-feature.onnx; PEOPLE a folder of photos for each of some people, to measure. WEIGHTS go on from a checkpoint, as recipes/checkpoints/mien-small.safetensors;
# without them the blocks are distilled first. RUN is where everything goes; what was stopped goes on
# when the same line is given again.
set -eu
export MIEN_RUNTIME=onnxruntime # whose numbers are the same on every machine
fairface=$1 teachers=$2 people=$3 run=$4 steps=${5:-7000} weights=${6:-}

# Photos without a face are skipped, which the exit code 3 says.
mien prepare "$fairface/train" --out "$run/data" || [ $? -eq 3 ]
mien targets "$run/data" --balance "$fairface/labels.csv" --by age,group \
    --teacher "$teachers/mobilefacenet-ms1m.onnx:imagenet" \
    --teacher "$teachers/faceplugin-feature.onnx:bgr"

learn() {
    mien train -d "$run/data" --out "$run/mien-small" -net seesaw_dense --loss none --targets \
        -b 32 --optimizer adamw --weight-decay 0 --head-weight-decay 0 --schedule cosine \
        --warmup 100 --ema 0.998 --augment all --steps "$steps" "$@"
}
if [ -n "$weights" ]; then
    learn --weights "$weights" -lr 5e-4
else
    learn --teacher "$teachers/mobilefacenet-ms1m.onnx" --block-steps 600 -lr 1e-3 \
        --feature-weight 2 --feature-steps 2500
fi
mien export "$run/mien-small/last.safetensors" "$run/mien-small.onnx"
mien calibrate "$run/mien-small.onnx" "$fairface/val" --strangers --people "$people" \
    --fmr 1e-3 --out "$run/mien-small.onnx" || [ $? -eq 3 ]
mien evaluate "$run/mien-small.onnx" "$fairface/val" --labels "$fairface/labels.csv" \
    --people "$people"
