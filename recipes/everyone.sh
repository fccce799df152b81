#!/bin/sh
# Teaches a small network everyday faces: FairFace's training photos, two teachers, balanced targets.
#
#     sh recipes/everyone.sh FAIRFACE TEACHERS RUN [STEPS [WEIGHTS]]
#
# FAIRFACE holds train/ and labels.csv (file, age, sex, group); TEACHERS mobilefacenet-ms1m.onnx and
# faceplugin-feature.onnx. WEIGHTS go on from a checkpoint, as recipes/checkpoints/mien-small.safetensors;
# without them the blocks are distilled first. The same command again goes on after anything.
set -eu
fairface=$1 teachers=$2 run=$3 steps=${4:-40000} weights=${5:-}
by=${BALANCE_BY:-age,group}

# Photos without a face are skipped, which the exit code 3 says.
mien prepare "$fairface/train" --out "$run/data" || [ $? -eq 3 ]
mien targets "$run/data" --balance "$fairface/labels.csv" --by "$by" \
    --teacher "$teachers/mobilefacenet-ms1m.onnx:imagenet" \
    --teacher "$teachers/faceplugin-feature.onnx:bgr"

learn() {
    mien train -d "$run/data" --out "$run/mien-small" -net seesaw_dense --loss none --targets \
        -b 32 --optimizer adamw --weight-decay 0 --head-weight-decay 0 --schedule cosine \
        --warmup 100 --ema 0.998 --augment all --steps "$steps" "$@"
}
if [ -n "$weights" ]; then
    learn --weights "$weights" -lr 1e-4
else
    learn --teacher "$teachers/mobilefacenet-ms1m.onnx" --block-steps 600 -lr 1e-3 \
        --feature-weight 2 --feature-steps 2500
fi
