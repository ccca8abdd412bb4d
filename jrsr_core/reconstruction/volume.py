"""`KSpaceVolume` -> 3-D `ReconImage`: the 2-D model in the (PE, SPE) plane of every position.

Positions go through the model in batches, so that coil images at HR exist for one batch at a time.
All positions share one intensity scale and one noise level: those of the position with the most
signal. A position whose ACS is noise (air) takes the maps of the nearest one with signal, because
maps estimated from noise are arbitrary.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from jrsr_core.calibration.acs_noise import volume_acs_noise_std
from jrsr_core.calibration.calibrate import CalibratedSlice, calibrate
from jrsr_core.calibration.coils import CoilCalibration
from jrsr_core.calibration.own_lines import other_acs
from jrsr_core.calibration.settings import kernel_shape
from jrsr_core.calibration.stated_noise import plane_energy
from jrsr_core.common.spelling import counted
from jrsr_core.data import KSpaceVolume, ReconImage, ReconReport
from jrsr_core.matrix import hr_shape
from jrsr_core.tensors import is_finite

from .batch import stack_slices
from .contradiction import Residual, contradiction_of
from .quality import unit_of
from .report import ReportFigures
from .slices import SliceReconstructor, with_folded

NOISE_DEVIATIONS = 5.0
"""Standard deviations by which the power of an ACS has to exceed that of noise."""

EMPTY = 1e-10
"""Power of an ACS relative to the largest that counts as nothing, where there is no noise."""

Tick = Callable[[], None]


@torch.inference_mode()
def reconstruct_volume(
    recon: SliceReconstructor,
    volume: KSpaceVolume,
    *,
    batch_size: int = 4,
    tick: Tick | None = None,
) -> ReconImage:
    """Return the image of a 3-D scan.

    Parameters
    ----------
    batch_size
        Readout positions that go through the model together.
    tick
        Called once per position, for progress.

    Returns
    -------
    ReconImage
        `image` ``(2 SPE, 2 PE, x)``, `low_resolution` ``(SPE, PE, x)``.

    Raises
    ------
    ValueError
        As `SliceReconstructor`: no usable ACS, k-space not finite or empty, matrix too small, or a
        `Contradiction`, also with maps of the volume's own samples.
    """
    _check_acs(volume, recon.settings.kernel_width)
    image, worst = _volume_image(recon, volume, batch_size, tick)
    error = None if recon.accept_contradictions else contradiction_of(recon.name, worst)
    if error is None:
        return image
    if all(
        other_acs(volume.position(x), recon.settings.kernel_width) is None
        for x in range(volume.n_positions)
    ):
        raise error
    image, worst = _volume_image(recon, volume, batch_size, None, own_lines=True)
    error = contradiction_of(recon.name, worst)
    if error is not None:
        raise error
    return image


def _check_acs(volume: KSpaceVolume, kernel_width: int) -> None:
    """Raise `ValueError` for an ACS smaller than the kernel; one coil, or no ACS, is left."""
    ny, nz = volume.mask.shape
    ay, az = volume.acs.shape[-2:]
    ky, kz = kernel_shape((ny, nz), kernel_width)
    if volume.acs.shape[1] > 1 and volume.acs.numel() and (ay < ky or az < kz):
        raise ValueError(
            f"acs is {counted(ay, 'line')} x {counted(az, 'partition')}, the kernel needs at least "
            f"{ky} x {kz} next to each other about the centre of k-space: acquire more of them, or "
            "lower kernel_width"
        )


def _volume_image(
    recon: SliceReconstructor,
    volume: KSpaceVolume,
    batch_size: int,
    tick: Tick | None,
    *,
    own_lines: bool = False,
) -> tuple[ReconImage, Residual]:
    """Return the image of a 3-D scan, and how far its worst position contradicts the samples."""
    begin = time.perf_counter()
    noise_std, scale = _common_scale(recon, volume)
    target, figures = VolumeImage(volume), ReportFigures()
    common = torch.tensor(scale, device=recon.device)
    planes = _calibrated_planes(recon, volume, noise_std, common, own_lines)
    for first in range(0, volume.n_positions, batch_size):
        batch = list(range(first, min(first + batch_size, volume.n_positions)))
        calibrated = stack_slices([next(planes) for _ in batch])
        output = recon.model_output(calibrated)
        maps = recon.maps(output, calibrated)
        whole = with_folded(output, calibrated)
        target.put(batch, whole.image, whole.low_resolution, maps, scale)
        figures.add(output, calibrated, whole)
        if tick:
            for _ in batch:
                tick()
    if not is_finite(target.image):
        raise ValueError(f"{recon.name} gave an image that is not finite")
    if not target.image.any():
        raise ValueError("no coil maps: the calibration lines hold noise alone, acquire others")
    report = figures.report(
        volume,
        model=recon.name,
        cards=recon.cards,
        noise_std=noise_std,
        image=target.image,
        maps=target.maps,
        seconds=time.perf_counter() - begin,
    )
    return target.finished(volume, report), figures.worst()


class VolumeImage:
    """The images of a 3-D scan, filled plane by plane; in the scanner's own scale."""

    def __init__(self, volume: KSpaceVolume) -> None:
        n, (ny, nz) = volume.n_positions, volume.mask.shape
        self.image = torch.zeros((n, *hr_shape((ny, nz))), dtype=torch.complex64)
        self.low_resolution = torch.zeros((n, ny, nz), dtype=torch.complex64)
        self.maps: dict[str, Tensor] = {}

    def put(
        self,
        positions: list[int],
        image: Tensor,
        low_resolution: Tensor,
        maps: dict[str, Tensor] | None = None,
        scale: float = 1.0,
    ) -> None:
        """Store the planes ``(n, y, z)`` of some readout positions, multiplied by `scale`."""
        self.image[positions] = (scale * image).to("cpu", torch.complex64)
        self.low_resolution[positions] = (scale * low_resolution).to("cpu", torch.complex64)
        for name, value in (maps or {}).items():
            whole = self.maps.setdefault(name, torch.zeros(self.image.shape))
            whole[positions] = (unit_of(name, scale) * value).cpu()

    def finished(self, volume: KSpaceVolume, report: ReconReport) -> ReconImage:
        """Return the image with axes ``(z, y, x)``, the order of an image array."""
        return ReconImage(
            image=self.image.permute(2, 1, 0),
            low_resolution=self.low_resolution.permute(2, 1, 0),
            geometry=volume.geometry,
            counters=volume.counters,
            stamp=volume.stamp,
            report=report,
            maps={name: value.permute(2, 1, 0) for name, value in self.maps.items()},
        )


def _common_scale(recon: SliceReconstructor, volume: KSpaceVolume) -> tuple[float, float]:
    """Return the noise level and the intensity scale of the position with the most signal."""
    energy = plane_energy(volume)
    if not bool(torch.isfinite(energy).all()):
        raise ValueError("kspace has samples that are not finite")
    calibrated = recon.calibrated(volume.position(int(energy.argmax())))
    return float(calibrated.noise_std) * calibrated.scale, calibrated.scale


def _calibrated_planes(
    recon: SliceReconstructor,
    volume: KSpaceVolume,
    noise_std: float,
    scale: Tensor,
    own_lines: bool,
) -> Iterator[CalibratedSlice]:
    """Yield the calibrated planes in order; the maps last computed are kept, shared ones longer."""
    volume = dataclasses.replace(volume, noise_std=noise_std)
    coils: CoilCalibration | None = None
    known = -1
    for x, source in enumerate(map_sources(volume, noise_std)):
        start = time.perf_counter()
        if source != known:
            known = source
            coils = recon.coils_of_plane(volume, source, own_lines=own_lines)
        plane = recon.on_device(volume.position(x))
        calibrated = calibrate(plane, recon.settings, coils, scale)
        yield dataclasses.replace(calibrated, seconds=time.perf_counter() - start)


def map_sources(volume: KSpaceVolume, noise_std: float) -> list[int]:
    """Return the position whose maps each position takes: itself, or the nearest with signal.

    `noise_std` is that of the volume. The mean power of n samples of pure noise is
    sigma^2 (1 +- 1/sqrt(n)).
    """
    power = volume.acs.abs().double().square().mean((1, 2, 3))
    sigma = volume_acs_noise_std(volume, noise_std)
    noise = sigma**2 * (1 + NOISE_DEVIATIONS / volume.acs[0].numel() ** 0.5)
    floor = max(noise, EMPTY * float(power.max()))
    loud = [x for x in range(volume.n_positions) if float(power[x]) > floor]
    loud = loud or [int(power.argmax())]
    return [_nearest(loud, x) for x in range(volume.n_positions)]


def _nearest(positions: list[int], x: int) -> int:
    return min(positions, key=lambda position: abs(position - x))
