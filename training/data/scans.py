"""Training scans: the input of a network and its truth.

Every scan goes through the same calibration as at the scanner (GCC, ESPIRiT from the noisy ACS,
scale), so that a network is trained on maps, and hence a phase, like those of its use. The truth is
the coil combination of the fully sampled coil images on either grid (paper, section 3.3), by maps
from the ACS ("acs") or from the centre of k-space, fully sampled and without noise ("full"), whose
phase is then that of the ACS maps:

    x_GT = u sum_c conj(S_c) x_c,   u = <S_ACS, S> / |<S_ACS, S>|

On disk half-precision safetensors of 2 to 6 MB for a 256 x 232 image.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from jrsr_core.acs import cut_acs
from jrsr_core.calibration.calibrate import intensity_scale
from jrsr_core.calibration.coils import make_compressor
from jrsr_core.calibration.espirit import espirit_maps
from jrsr_core.calibration.fold_over import image_maps, take_out
from jrsr_core.calibration.settings import CalibrationSettings
from jrsr_core.common.atomic import write_bytes
from jrsr_core.physics.fourier import ifft2c
from jrsr_core.physics.resolution import decimate
from jrsr_core.physics.sense import SenseOperator, first_maps
from jrsr_core.simulation.acquisition import AcquiredSlice

N_VIRTUAL_COILS = CalibrationSettings().n_virtual_coils
REAL = ("mask", "noise_std")


@dataclass(eq=False)
class TrainingScan:
    """Inputs and truths of a batch of scans, scaled to max |zero-filled LR image| = 1.

    `kspace` ``(batch, coil, ky, kx)``, `csm` ``(batch, [map,] coil, y, x)`` on the HR grid, `mask`
    ``(ky, kx)`` or ``(batch, 1, ky, kx)``, `target` and `lr_target` complex ``(batch, y, x)``,
    `noise_std` ``(batch,)``.
    """

    kspace: Tensor
    csm: Tensor
    mask: Tensor
    target: Tensor
    lr_target: Tensor
    noise_std: Tensor

    @property
    def sense(self) -> SenseOperator:
        """The operator on the HR grid, with all map sets."""
        return SenseOperator(self.csm, self.mask, has_map_axis=self.csm.ndim == 5)

    def with_one_map(self) -> "TrainingScan":
        """Return the scans with the first map set alone, on unit norm."""
        return replace(self, csm=first_maps(self.csm)) if self.csm.ndim == 5 else self

    def zero_filled(self) -> Tensor:
        """Return A^H b on the LR grid, of the first map set, complex ``(batch, y, x)``."""
        return self.with_one_map().sense.at_low_resolution().adjoint(self.kspace)

    def __len__(self) -> int:
        return self.kspace.shape[0]

    def to(self, device: torch.device) -> "TrainingScan":
        """Return the same scans on a device."""
        return TrainingScan(**{k: v.to(device, non_blocking=True) for k, v in vars(self).items()})


def _interpolate_matrices(matrices: Tensor, n_hr: int) -> Tensor:
    """Return GCC matrices ``(x, v, c)`` at the HR readout positions, linearly interpolated."""
    n_lr = matrices.shape[0]
    flat = torch.view_as_real(matrices).flatten(1)
    position = (torch.arange(n_hr) - n_hr // 2) * (n_lr / n_hr) + n_lr // 2
    low = position.floor().clamp(0, n_lr - 1).long()
    high = (low + 1).clamp(max=n_lr - 1)
    weight = (position - low)[:, None]
    mixed = flat[low] * (1 - weight) + flat[high] * weight
    return torch.view_as_complex(mixed.reshape(n_hr, *matrices.shape[1:], 2).contiguous())


def _compress(scan: AcquiredSlice) -> tuple[Tensor, Tensor, Tensor]:
    """Return virtual coils of the LR k-space with and without noise, and of the HR coil images."""
    compressor = make_compressor(cut_acs(scan.fully_sampled, scan.mask), scan.mask, N_VIRTUAL_COILS)
    if compressor is None:
        return scan.fully_sampled, scan.clean, scan.coil_images
    if compressor.is_geometric:
        matrices = _interpolate_matrices(compressor.matrices, scan.coil_images.shape[-1])
        images = torch.einsum("xvc,cyx->vyx", matrices, scan.coil_images)
    else:
        images = torch.einsum("vc,cyx->vyx", compressor.matrices[0], scan.coil_images)
    return compressor(scan.fully_sampled), compressor(scan.clean), images


def _truth_maps(csm: Tensor, clean: Tensor) -> Tensor:
    """Return maps ``(coil, y, x)`` from fully sampled LR k-space, in phase with `csm`."""
    full, _ = espirit_maps(clean, (csm.shape[-2], csm.shape[-1]))
    overlap = (csm.conj() * full).sum(0)
    magnitude = overlap.abs()
    phase = torch.where(magnitude > 1e-6, overlap / magnitude.clamp_min(1e-6), 1.0)
    return full * phase.conj()


def calibrate_scan(scan: AcquiredSlice, truth_maps: str = "acs", n_maps: int = 1) -> TrainingScan:
    """Return the training scan of an acquired slice.

    Maps are estimated from the ACS, the truths are coil combinations, and all has one scale.
    `n_maps` sets of maps are for models that use more than one (soft-SENSE); scale and truths are
    those of the first. With one set, what an object larger than the field of view folds onto the
    image is removed from k-space and truths as at the scanner. The maps of the truths are then
    those of the ACS, which decide which of two overlapping parts is the image.

    Raises
    ------
    ValueError
        No usable ACS, or nothing was measured.
    """
    full, clean, hr_images = _compress(scan)
    hr_shape = (hr_images.shape[-2], hr_images.shape[-1])
    acs = cut_acs(full, scan.mask)
    maps, folded = image_maps(
        acs, hr_shape, lambda: scan.noise_std, CalibrationSettings(n_maps=n_maps)
    )
    csm = maps if maps.ndim == 3 else first_maps(maps)
    sense = SenseOperator(csm[None], scan.mask)
    kspace = scan.mask * full[None]
    if folded is not None:
        kspace, _ = take_out(kspace, sense, folded[None])
    scale = intensity_scale(sense.at_low_resolution().adjoint(kspace))
    truth = csm if truth_maps == "acs" or folded is not None else _truth_maps(csm, clean)
    lr_shape = (clean.shape[-2], clean.shape[-1])
    lr_truth = decimate(truth, lr_shape)
    return TrainingScan(
        kspace=kspace / scale,
        csm=maps[None],
        mask=scan.mask,
        target=(truth.conj() * hr_images).sum(0)[None] / scale,
        lr_target=(lr_truth.conj() * ifft2c(clean)).sum(0)[None] / scale,
        noise_std=torch.tensor([scan.noise_std]) / scale,
    )


def half_precision(scan: TrainingScan) -> dict[str, Tensor]:
    """Return the tensors of a scan, complex numbers as pairs of float16; the noise in float32."""
    tensors = {}
    for name, value in vars(scan).items():
        real = torch.view_as_real(value) if value.is_complex() else value
        tensors[name] = real.to(torch.float32 if name == "noise_std" else torch.float16)
    return {k: v.contiguous() for k, v in tensors.items()}


def save_scan(path: Path, scan: TrainingScan) -> None:
    """Write a scan in half precision, whole or not at all."""
    write_bytes(path, save(half_precision(scan)), overwrite=True)


def unpack_scan(tensors: dict[str, Tensor]) -> TrainingScan:
    """Return the `TrainingScan` of half-precision tensors, in complex64 and float32."""
    values = {}
    for name, value in tensors.items():
        value = value.to(torch.float32)
        values[name] = value if name in REAL else torch.view_as_complex(value)
    return TrainingScan(**values)


def collate(scans: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Stack the half-precision tensors of several scans of one shape.

    Raises
    ------
    ValueError
        The scans differ in shape or coils.
    """
    first = scans[0]
    if len(scans) == 1:
        return first
    for scan in scans:
        if scan["kspace"].shape != first["kspace"].shape:
            shapes = [tuple(s["kspace"].shape[1:4]) for s in (first, scan)]
            raise ValueError(
                f"scans of different shape in one batch, {shapes[0]} and {shapes[1]} (coil, ky, "
                "kx): use optimizer.batch=1, or images and scans.vary=true"
            )
    batch = {k: torch.cat([s[k] for s in scans]) for k in first if k != "mask"}
    masks = [s["mask"] for s in scans]
    same = all(torch.equal(m, masks[0]) for m in masks)
    batch["mask"] = masks[0] if same else torch.stack(masks)[:, None]
    return batch
