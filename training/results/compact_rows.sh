#!/usr/bin/env bash
# Every row of the compact tables at one budget, on one CPU core: train, export, judge.
#
#   training/results/compact_rows.sh PROTOCOL IMAGES OUT [STEPS]
#
# PROTOCOL is brain-5x or wall-16x, IMAGES a folder with brain_train.h5 and brain_test.h5. All rows see
# STEPS scans (1500), one per step, drawn from the same 600, with the same optimizer and schedule and
# pixel losses alone (`phases.psnr=1`); a sequence sees as many for its upsampling again. Whatever is
# there already goes on where it was stopped. What DISTANCES has goes to `evaluate` as it is:
# DISTANCES="--squeezenet squeezenet.safetensors --alexnet alexnet.safetensors --lpips-heads alex.pth"
set -euo pipefail
protocol=$1 images=$2 out=$3 steps=${4:-1500}
recipes=$(dirname "$0")/../recipes
common="preset=compact optimizer.batch=1 optimizer.learning_rate=4e-4 optimizer.schedule=cosine
    optimizer.warmup_steps=100 optimizer.ema=0.998 phases.psnr=1 machine.precision=bf16-mixed
    machine.n_threads=1 log.tensorboard=false log.validate_every=0"
kept=fixed_point.warm_start=true

jrsr-train prepare "$images/brain_train.h5" -o "$out/scans" --protocol "$protocol" \
    --scans 600 --n-maps 2 --workers 2

models=
row() { # SYSTEM RECIPE [key=value...]: train, export, remember
    local system=$1 recipe=$2
    shift 2
    # shellcheck disable=SC2086
    jrsr-train fit "$recipes/$recipe.yaml" data="$out/scans" out="$out/$system" $common \
        steps="$steps" "$@"
    jrsr-train export "$out/$system" -o "$out/weights/$system"
    models+="$system=$(ls "$out/weights/$system"/*.json),"
}

row jrsr "$protocol-jrsr" "$kept"
row jrsr-dc jrsr-dc_compact protocol="$protocol" "$kept" \
    fixed_point.first_iterations=12 fixed_point.later_iterations=5
row sr "$protocol-sr"
row recon "$protocol-recon" "$kept"
row recon-sr "$protocol-recon-sr" "$kept" steps=$((2 * steps))
row recon+sr "$protocol-recon+sr" "$kept"
row recon+sr-sft "$protocol-recon+sr-sft" "$kept"
row t2net "$protocol-t2net" patch.size=72
for recon in modl dl-espirit; do
    row "$recon+bicubic" "$protocol-$recon+bicubic"
    for upsample in medsrgan bebygan; do
        row "$recon+$upsample" "$protocol-$recon+$upsample" start.recon_from="$out/$recon+bicubic"
    done
done
for upsample in medsrgan bebygan; do
    row "cg-sense+$upsample" "$protocol-cg-sense+$upsample"
done

# shellcheck disable=SC2086
jrsr-train evaluate --protocol "$protocol" --data "$images/brain_test.h5" --out "$out/rows.csv" \
    ${DISTANCES:-} --models "${models}cg-sense+bicubic,cg-sense+sinc,fully-sampled-lr+sinc"
jrsr-train table "$out/rows.csv" --proposed jrsr --paper
