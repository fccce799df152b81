#!/bin/sh
# Makes a model from nothing: everyday faces, two teachers, balanced targets.
#
#   recipes/model.sh mien-small|mien-tiny FAIRFACE TEACHERS PEOPLE RUN [STEPS [WEIGHTS]]
#
# FAIRFACE holds train/, val/ and labels.csv (file, age, sex, group); TEACHERS
# mobilefacenet-ms1m.onnx and faceplugin-feature.onnx; PEOPLE a folder of photos for each of some
# people, to measure.  WEIGHTS, such as recipes/checkpoints/mien-small.safetensors, are trained on;
# without them the blocks are distilled first.  RUN is where everything goes: what was stopped goes
# on when the same line is given again, and both models share their data.
set -eu
export MIEN_RUNTIME=onnxruntime # whose numbers are the same on every machine
name=$1 fairface=$2 teachers=$3 people=$4 run=$5 steps=${6:-7000} weights=${7:-}
case $name in
mien-small) network=seesaw_dense ;;
mien-tiny) network=seesaw_tiny ;;
*) echo "$name is neither mien-small nor mien-tiny" >&2 && exit 2 ;;
esac

# Photos without a face are skipped, which the exit code 3 says.
mien prepare "$fairface/train" --out "$run/data" || [ $? -eq 3 ]
mien targets "$run/data" --balance "$fairface/labels.csv" --by age,group \
    --teacher "$teachers/mobilefacenet-ms1m.onnx:imagenet" \
    --teacher "$teachers/faceplugin-feature.onnx:bgr"

learn() {
    mien train -d "$run/data" --out "$run/$name" -net $network --loss none --targets \
        -b 32 --optimizer adamw --weight-decay 0 --head-weight-decay 0 --schedule cosine \
        --warmup 100 --ema 0.998 --augment all --steps "$steps" "$@"
}
if [ -n "$weights" ]; then
    learn --weights "$weights" -lr 5e-4
else
    learn --teacher "$teachers/mobilefacenet-ms1m.onnx" --block-steps 600 -lr 1e-3 \
        --feature-weight 2 --feature-steps 2500
fi
mien export "$run/$name/last.safetensors" "$run/$name.onnx"
mien calibrate "$run/$name.onnx" "$fairface/val" --strangers --people "$people" \
    --fmr 1e-3 --out "$run/$name.onnx" || [ $? -eq 3 ]
mien evaluate "$run/$name.onnx" "$fairface/val" --labels "$fairface/labels.csv" \
    --people "$people"
