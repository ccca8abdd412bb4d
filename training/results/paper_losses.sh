#!/usr/bin/env bash
# Fine-tunes every row with an SR network by perceptual and adversarial losses, from its pixel weights, at one budget.
#
#   training/results/paper_losses.sh PROTOCOL SCANS OUT TRUNK [STEPS [ROW...]]
#
# SCANS is the prepared folder of the pixel training (jrsr-train prepare brain_train.h5 --protocol PROTOCOL --scans 600
# --n-maps 2), TRUNK vgg16_caffe_fp16.safetensors, STEPS the samples per row (600). The proposed network comes first.
# Whatever is there already goes on where it was stopped; OUT/weights has the cards of finished rows.
set -euo pipefail
protocol=$1 scans=$2 out=$3 trunk=$4 steps=${5:-600}
rows=("${@:6}")
[[ ${#rows[@]} -gt 0 ]] || rows=(jrsr recon+sr recon-sr recon+sr-sft sr
    {modl,dl-espirit,cg-sense}+{medsrgan,bebygan})
recipes=$(dirname "$0")/../recipes
train=${JRSR_TRAIN:-jrsr-train}

for row in "${rows[@]}"; do
    recipe=fine-tune-gan own=()
    case $row in
        *+medsrgan) recipe=fine-tune-medsrgan ;;
        *+bebygan) recipe=fine-tune-bebygan ;;
        sr) own=(loss.rec=0 fixed_point.warm_start=false) ;;
        recon-sr) own=(loss.rec=0 start.recon_from="$row@$protocol" phases.recon=0.5) ;;
    esac
    case $row in
        modl+* | dl-espirit+*) own+=(start.recon_from="$row@$protocol") ;;
        cg-sense+*) own+=(start.recon_from= phases.recon=0) ;;
    esac
    [[ ! -e $out/weights/${row}_compact.json ]] || continue
    $train fit "$recipes/$recipe.yaml" model="$row" protocol="$protocol" data="$scans" out="$out/$row" \
        steps="$steps" start.init="$row@$protocol" loss.perceptual.file="$trunk" machine.n_threads=1 \
        ${own[@]+"${own[@]}"}
    $train export "$out/$row" -o "$out/weights"
done
