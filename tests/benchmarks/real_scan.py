"""Quality on real, fully sampled k-space that no training has seen.

    python -m tests.benchmarks.real_scan scan.npy [--models A,B] [--png out.png]

The file holds measured k-space (coil, ky, kx) of one slice, kx along the readout or, with
`--transpose`, ky; both of even size. Its central half along both axes, undersampled along ky, is
the scan; all of it, combined with ESPIRiT maps of its own centre (two sets of them where it is
folded over), is the truth, with the noise that it has. PSNR in dB (SSIM, resolution) of the
magnitude, nothing rescaled, means over eight draws of a random mask, and PSNR above cg-sense+sinc.
`upper reference` is the scan without undersampling, sinc interpolated. The noise is that of the
outermost samples; no image can have a resolution above the one that it leaves of the truth, which
is printed first. `--phase` asks what makes a scan hard: `kept` scans the combined image anew with
its maps and white noise, `none` its magnitude.
"""

import argparse
import sys
from pathlib import Path

import torch

from gadget.output.pictures.draw import encode_png, grey_picture, montage
from jrsr_core.acs import cut_acs
from jrsr_core.calibration.fold_over import image_maps, put_back
from jrsr_core.calibration.settings import CalibrationSettings
from jrsr_core.metrics.resolution import resolution_limit
from jrsr_core.physics.fourier import fft2c, ifft2c
from jrsr_core.physics.resolution import grid_scale
from jrsr_core.simulation.acquisition import SimulatedSlice, to_low_resolution, white_noise
from jrsr_core.simulation.masks import make_mask
from training.data.testset import as_kspace_slice

from .generalisation import UPPER_REFERENCE, cells_above_floor, judge, load_systems
from .held_out import load_kspace, outermost_noise

N_ACS = 24
MASKS = [
    *(("gaussian", r) for r in (1.5, 2.0, 2.5, 3.0, 4.0)),
    *(("regular", r) for r in (2.0, 3.0, 4.0)),
    ("full", 1.0),
]
DRAWS = 8


def true_image(kspace, noise_std):
    """Maps, the combined image of all that was measured, and what of it is folded over or None."""
    shape, images = tuple(kspace.shape[-2:]), ifft2c(kspace)
    acs = cut_acs(kspace, torch.ones(shape))
    csm, second = image_maps(acs, shape, lambda: noise_std, CalibrationSettings())
    image = (csm.conj() * images).sum(0)
    if second is None:
        return csm, image, None
    unit = torch.nan_to_num(second / torch.linalg.vector_norm(second, dim=0))
    folded = (unit.conj() * images).sum(0)
    return csm, put_back(image, folded), folded


def limit_by_noise(kspace, noise_std, image):
    """The largest resolution of any image against this truth, mean over four draws of noise."""
    limits = []
    for seed in range(4):
        noise = white_noise(kspace.shape, noise_std, torch.Generator().manual_seed(seed))
        _, noisier, _ = true_image(kspace + noise, noise_std)
        limits.append(float(resolution_limit(noisier.abs(), image.abs())))
    return sum(limits) / len(limits)


def scanned_anew(csm, image, noise_std):
    """k-space of an image seen by its maps."""
    clean = fft2c(csm * image)
    return clean + white_noise(clean.shape, noise_std, torch.Generator().manual_seed(0))


def scans(kspace, noise_std, truth, kind, acceleration):
    """The scan with every draw of a mask."""
    shape = tuple(kspace.shape[-2:])
    lr_shape = tuple(n // 2 for n in shape)
    full, std = to_low_resolution(kspace, lr_shape), noise_std * grid_scale(lr_shape, shape)
    for seed in range(DRAWS if kind == "gaussian" else 1):
        mask = make_mask(kind, lr_shape, acceleration, n_acs=N_ACS, seed=seed)
        yield SimulatedSlice(
            mask=mask,
            fully_sampled=full,
            clean=full,
            coil_images=ifft2c(kspace),
            noise_std=std,
            truth=truth[1].abs(),
            csm=truth[0],
        )


def picture(scan, recons):
    """Truth and every system's image, with one window."""
    tiles = {"truth": scan.truth}
    tiles |= {name: recon(as_kspace_slice(scan)).magnitude for name, recon in recons.items()}
    top = float(scan.truth.quantile(0.998))
    return montage([(grey_picture(t.numpy(), top), (name,)) for name, t in tiles.items()])


@torch.inference_mode()
def main():
    """Print a row per mask."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scan", type=Path)
    parser.add_argument("--models", default="jrsr,jrsr-dc")
    parser.add_argument("--transpose", action="store_true")
    parser.add_argument("--phase", choices=("measured", "kept", "none"), default="measured")
    parser.add_argument("--png", type=Path)
    options = parser.parse_args()
    kspace, mask = load_kspace(options.scan)
    if options.transpose:
        kspace, mask = kspace.mT.contiguous(), mask.mT
    noise_std = outermost_noise(kspace, mask)
    truth = true_image(kspace, noise_std)
    limit = limit_by_noise(kspace, noise_std, truth[1])
    if options.phase != "measured":
        if truth[2] is not None:
            parser.error(f"--phase {options.phase}: {options.scan} is folded over")
        image = truth[1] if options.phase == "kept" else truth[1].abs()
        kspace = scanned_anew(truth[0], image, noise_std)
    recons = load_systems(options.models, calibration=CalibrationSettings(len(kspace)))
    first = next(scans(kspace, noise_std, truth, "gaussian", 2.5))
    sys.stdout.write(f"LR {tuple(first.mask.shape)}, {len(kspace)} coils, ")
    sys.stdout.write(f"resolution up to {limit:.2f} by the noise of the truth\n\n")
    sys.stdout.write(f"| mask | sampled | {' | '.join([*recons, UPPER_REFERENCE])} |\n")
    sys.stdout.write("|---" * (len(recons) + 3) + "|\n")
    for kind, acceleration in MASKS:
        if kind == "gaussian" and len(first.mask) / acceleration <= N_ACS:
            continue  # No line is left outside the ACS.
        made = list(scans(kspace, noise_std, truth, kind, acceleration))
        cells = cells_above_floor(judge(made, recons))
        share = float(made[0].mask.mean())
        sys.stdout.write(f"| {kind} {acceleration:g} | {share:.0%} | {' | '.join(cells)} |\n")
        sys.stdout.flush()
    if options.png:
        options.png.write_bytes(encode_png(picture(first, recons)))


if __name__ == "__main__":
    main()
