"""Simulate a training set once: calibrated scans as safetensors files in a folder.

Every scan goes through the same calibration as at the scanner (GCC, ESPIRiT from the noisy ACS,
scale), so that a network sees the maps, and hence the phase, it will meet. The truth is the
coil combination of the fully sampled HR coil images with the same maps (paper, section 3.3).
Half-precision files of 2 to 6 MB; an interrupted run goes on where it stopped.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from jrsr_core.calibration.acs import cut_acs
from jrsr_core.calibration.calibrate import CalibrationSettings, make_compressor
from jrsr_core.calibration.espirit import espirit_maps
from jrsr_core.calibration.scaling import intensity_scale
from jrsr_core.physics.fourier import ifft2c
from jrsr_core.physics.sense import SenseOperator
from jrsr_core.simulation.protocols import PROTOCOLS, load_image

from .variety import DrawnScan, Variety, draw_scan

N_VIRTUAL_COILS = CalibrationSettings().n_virtual_coils


@dataclass(eq=False)
class TrainingScan:
    """Inputs and truths of one scan, batch axis 1, scaled to max |zero-filled LR image| = 1."""

    kspace: Tensor
    csm: Tensor
    mask: Tensor
    target: Tensor
    lr_target: Tensor
    noise_std: Tensor

    @property
    def sense(self) -> SenseOperator:
        """The operator on the HR grid."""
        return SenseOperator(self.csm, self.mask)


def _interpolate_matrices(matrices: Tensor, n_hr: int) -> Tensor:
    """GCC matrices ``(x, v, c)`` at the HR readout positions; aligned, so linear is enough."""
    n_lr = matrices.shape[0]
    flat = torch.view_as_real(matrices).flatten(1)
    position = (torch.arange(n_hr) - n_hr // 2) * (n_lr / n_hr) + n_lr // 2
    low = position.floor().clamp(0, n_lr - 1).long()
    high = (low + 1).clamp(max=n_lr - 1)
    weight = (position - low)[:, None]
    mixed = flat[low] * (1 - weight) + flat[high] * weight
    return torch.view_as_complex(mixed.reshape(n_hr, *matrices.shape[1:], 2).contiguous())


def _compress(scan: DrawnScan) -> tuple[Tensor, Tensor, Tensor]:
    """Virtual coils of the LR k-space with and without noise, and of the HR coil images."""
    compressor = make_compressor(cut_acs(scan.full, scan.mask), scan.mask, N_VIRTUAL_COILS)
    if compressor is None:
        return scan.full, scan.clean, scan.hr_coil_images
    if compressor.is_geometric:
        matrices = _interpolate_matrices(compressor.matrices, scan.hr_coil_images.shape[-1])
        images = torch.einsum("xvc,cyx->vyx", matrices, scan.hr_coil_images)
    else:
        images = torch.einsum("vc,cyx->vyx", compressor.matrices[0], scan.hr_coil_images)
    return compressor(scan.full), compressor(scan.clean), images


def calibrate_scan(scan: DrawnScan) -> TrainingScan:
    """Estimate maps from the ACS, truths by coil combination with these maps, one scale."""
    full, clean, hr_images = _compress(scan)
    csm, _ = espirit_maps(cut_acs(full, scan.mask), (hr_images.shape[-2], hr_images.shape[-1]))
    sense = SenseOperator(csm[None], scan.mask)
    lr_sense = sense.at_low_resolution()
    kspace = scan.mask * full[None]
    scale = intensity_scale(lr_sense.adjoint(kspace))
    return TrainingScan(
        kspace=kspace / scale,
        csm=csm[None],
        mask=scan.mask,
        target=sense.coils.adjoint(hr_images[None]) / scale,
        lr_target=lr_sense.coils.adjoint(ifft2c(clean)[None]) / scale,
        noise_std=torch.tensor([scan.noise_std]) / scale,
    )


def save_scan(path: Path, scan: TrainingScan) -> None:
    """Write atomically, complex numbers as pairs of float16."""
    tensors = {}
    for name, value in vars(scan).items():
        real = torch.view_as_real(value) if value.is_complex() else value
        tensors[name] = real.to(torch.float32 if name == "noise_std" else torch.float16)
    partial = path.with_suffix(".partial")
    save_file({k: v.contiguous() for k, v in tensors.items()}, partial)
    partial.replace(path)


def load_scan(path: Path) -> dict[str, Tensor]:
    """Read the half-precision tensors of a file."""
    return load_file(path)


def unpack_scan(tensors: dict[str, Tensor]) -> TrainingScan:
    """Turn half-precision tensors into a `TrainingScan` of complex64 and float32."""
    values = {}
    for name, value in tensors.items():
        value = value.to(torch.float32)
        is_complex = name not in ("mask", "noise_std")
        values[name] = torch.view_as_complex(value) if is_complex else value
    return TrainingScan(**values)


def prepare(
    images: Path,
    out: Path,
    n_scans: int,
    *,
    seed: int = 0,
    variety: Variety | None = None,
    share: tuple[int, int] = (0, 1),
) -> int:
    """Write scans `seed`, n_scans of them, and return how many were new.

    `share` = (i, n) makes every n-th scan, starting with the i-th: several processes, one folder.
    """
    import h5py

    variety = variety or Variety()
    with h5py.File(images, "r") as file:
        n_images = file["slices"].shape[0]
    out.mkdir(parents=True, exist_ok=True)
    facts = {"images": images.name, "seed": seed, "scans": n_scans, **asdict(variety)}
    (out / "variety.json").write_text(json.dumps(facts, indent=1))
    protocol = PROTOCOLS["brain-5x"]
    made = 0
    for index in range(share[0], n_scans, share[1]):
        path = out / f"scan_{index:05d}.safetensors"
        if path.exists():
            continue
        generator = torch.Generator().manual_seed(seed * 1_000_003 + index)
        image = load_image(images, int(torch.randint(n_images, (), generator=generator)))
        if image.mean() < 0.02:
            continue
        save_scan(path, calibrate_scan(draw_scan(image, protocol, variety, generator)))
        made += 1
    return made
