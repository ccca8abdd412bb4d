"""`KSpaceVolume` -> 3-D `ReconImage`: the 2-D model in the (PE, SPE) plane of every position.

Positions go through the model in batches, so that coil images at HR exist for one batch at a time.
All positions share one intensity scale and one noise level: those of the position with the most
signal. A position whose ACS is noise (air) takes the maps of the nearest one with signal: maps of
noise would be arbitrary.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from jrsr_core.calibration.calibrate import CalibratedSlice, calibrate
from jrsr_core.calibration.settings import hr_shape
from jrsr_core.cancellation import checkpoint
from jrsr_core.data import KSpaceVolume, ReconImage, ReconReport
from jrsr_core.models.interfaces import ModelOutput

from .quality import expected_residual, kspace_residual, relative_size
from .reconstructor import Reconstructor, stack_slices, with_folded
from .warnings import image_warnings, signal_to_noise_db

SIGNIFICANT = 5.0
"""Standard deviations by which the power of an ACS has to exceed that of noise."""

EMPTY = 1e-10
"""Power of an ACS relative to the largest that counts as nothing, where there is no noise."""

Tick = Callable[[], None]


@torch.inference_mode()
def reconstruct_volume(
    recon: Reconstructor, volume: KSpaceVolume, *, batch_size: int = 4, tick: Tick | None = None
) -> ReconImage:
    """Reconstruct a 3-D scan.

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
        As `Reconstructor`: no usable ACS, k-space not finite or empty, matrix too small.
    """
    begin = time.perf_counter()
    volume, scale = _common_scale(recon, volume)
    target = _Target(volume)
    planes = _calibrated_planes(recon, volume, scale)
    tally = _Tally()
    for first in range(0, volume.n_positions, batch_size):
        batch = list(range(first, min(first + batch_size, volume.n_positions)))
        calibrated = stack_slices([next(planes) for _ in batch])
        output = recon.model_output(calibrated)
        maps = recon.maps(output, calibrated)
        whole = with_folded(output, calibrated)
        target.put(batch, whole, float(scale), maps)
        tally.add(output, calibrated, whole)
        for _ in batch if tick else ():
            tick()
    if not target.is_finite():
        raise ValueError(f"{recon.name} gave an image that is not finite")
    report = tally.report(recon, volume, time.perf_counter() - begin)
    return target.finish(volume, dataclasses.replace(report, **target.map_sizes()))


def fallback_volume(
    recon: Reconstructor, volume: KSpaceVolume, reason: str, *, tick: Tick | None = None
) -> ReconImage:
    """Return an image without the model, position by position; see `Reconstructor.fallback`."""
    target = _Target(volume)
    for x in range(volume.n_positions):
        checkpoint()
        plane = recon.fallback(volume.position(x), reason)
        target.put([x], ModelOutput(plane.image[None], plane.low_resolution[None]), 1.0)
        if tick:
            tick()
    report = dataclasses.replace(plane.report, n_readout=volume.n_positions)
    return target.finish(volume, report)


class _Target:
    """The finished images, filled plane by plane; the scanner's own scale."""

    def __init__(self, volume: KSpaceVolume) -> None:
        n, (ny, nz) = volume.n_positions, volume.mask.shape
        self.image = torch.zeros((n, *hr_shape((ny, nz))), dtype=torch.complex64)
        self.low_resolution = torch.zeros((n, ny, nz), dtype=torch.complex64)
        self.maps: dict[str, Tensor] = {}

    def put(
        self,
        positions: list[int],
        output: ModelOutput,
        scale: float,
        maps: dict[str, Tensor] | None = None,
    ) -> None:
        self.image[positions] = (scale * output.image).to("cpu", torch.complex64)
        low_resolution = scale * output.low_resolution
        self.low_resolution[positions] = low_resolution.to("cpu", torch.complex64)
        for name, value in (maps or {}).items():
            whole = self.maps.setdefault(name, torch.zeros(self.image.shape))
            whole[positions] = (scale * value).cpu()

    def map_sizes(self) -> dict[str, float]:
        sizes = {name: relative_size(value, self.image) for name, value in self.maps.items()}
        return {name: size for name, size in sizes.items() if name != "hallucination"}

    def is_finite(self) -> bool:
        return bool(torch.isfinite(torch.view_as_real(self.image)).all())

    def finish(self, volume: KSpaceVolume, report: ReconReport) -> ReconImage:
        """``(x, y, z)`` -> ``(z, y, x)``, the order of an image array."""
        return ReconImage(
            image=self.image.permute(2, 1, 0),
            low_resolution=self.low_resolution.permute(2, 1, 0),
            geometry=volume.geometry,
            counters=volume.counters,
            stamp=volume.stamp,
            report=report,
            maps={name: value.permute(2, 1, 0) for name, value in self.maps.items()},
        )


def _common_scale(recon: Reconstructor, volume: KSpaceVolume) -> tuple[KSpaceVolume, Tensor]:
    """Return the volume with its noise level known, and the scale."""
    energy = torch.stack([plane.abs().square().sum() for plane in volume.hybrid])
    if not bool(torch.isfinite(energy).all()):
        raise ValueError("kspace has samples that are not finite")
    loudest = volume.position(int(energy.argmax()))
    calibrated = recon.calibrated(loudest)
    noise_std = float(calibrated.noise_std) * calibrated.scale
    scale = torch.tensor(calibrated.scale, device=recon.device)
    return dataclasses.replace(volume, noise_std=noise_std), scale


def _calibrated_planes(
    recon: Reconstructor, volume: KSpaceVolume, scale: Tensor
) -> Iterator[CalibratedSlice]:
    """Yield the calibrated planes in order; the maps last made are kept, shared ones longer."""
    known, coils = -1, None
    for x, source in enumerate(map_sources(volume)):
        start = time.perf_counter()
        if source != known:
            known, coils = source, recon.coils_of_plane(volume, source)
        plane = recon.on_device(volume.position(x))
        calibrated = calibrate(plane, recon.settings, coils, scale)
        yield dataclasses.replace(calibrated, seconds=time.perf_counter() - start)


def map_sources(volume: KSpaceVolume) -> list[int]:
    """Return for every position the one that gives its maps: itself, or the nearest with signal.

    The mean power of n samples of pure noise is sigma^2 (1 +- 1/sqrt(n)).
    """
    power = volume.acs.abs().square().mean((1, 2, 3))
    noise_std = volume.noise_std if volume.acs_noise_std is None else volume.acs_noise_std
    noise = noise_std**2 * (1 + SIGNIFICANT / volume.acs[0].numel() ** 0.5)
    floor = max(noise, EMPTY * float(power.max()))
    loud = [x for x in range(volume.n_positions) if float(power[x]) > floor]
    loud = loud or [int(power.argmax())]
    return [min(loud, key=lambda s, x=x: abs(s - x)) for x in range(volume.n_positions)]


class _Tally:
    """What the report says of all positions; residuals are those of the whole volume."""

    def __init__(self) -> None:
        self.residual, self.power = math.nan, 0.0
        self.energy = self.contradicted = self.explained = 0.0
        self.folded = self.imaged = 0.0
        self.iterations = 0
        self.seconds: dict[str, float] = {"calibration": 0.0}
        self.first: CalibratedSlice | None = None

    def add(self, output: ModelOutput, calibrated: CalibratedSlice, whole: ModelOutput) -> None:
        """Count a batch of positions; `whole` is the output with what was folded."""
        self.first = self.first or calibrated
        self.iterations = max(self.iterations, output.iterations)
        if output.residual is not None:
            # max() keeps its first argument where the second one is not a number.
            self.residual = max(float(output.residual.max()), self.residual)
        energy = float(calibrated.kspace.abs().square().sum())
        self.energy += energy
        if energy > 0:
            self.contradicted += energy * kspace_residual(output, calibrated) ** 2
            self.explained += energy * expected_residual(calibrated) ** 2
        if calibrated.folded is not None:
            self.folded += float(calibrated.folded.abs().square().sum())
        self.imaged += float(whole.image.abs().square().sum())
        power = output.low_resolution.abs().square().mean((-2, -1))
        self.power = max(self.power, float(power.max()))
        self.seconds["calibration"] += calibrated.seconds
        for name, value in output.seconds.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + value

    def report(self, recon: Reconstructor, volume: KSpaceVolume, total: float) -> ReconReport:
        """Report the worst equilibrium, the signal of the loudest position, sums of the rest."""
        first = self.first
        residuals = [(e / self.energy) ** 0.5 for e in (self.contradicted, self.explained)]
        folded = (self.folded / self.imaged) ** 0.5 if self.folded else 0.0
        snr_db = signal_to_noise_db(torch.tensor(self.power**0.5), float(first.noise_std[0]))
        warnings = image_warnings(
            recon.cards,
            folded=folded,
            fixed_point_residual=self.residual,
            residuals=(residuals[0], residuals[1]),
            n_coils=first.kspace.shape[1],
            acceleration=volume.acceleration,
            n_acs=min(first.acs_shape),
            hr_size=first.sense.image_shape,
            noise_db=snr_db,
        )
        return ReconReport(
            model=recon.name,
            weights_sha256=recon.weights_sha256,
            iterations=self.iterations,
            fixed_point_residual=self.residual,
            kspace_residual=residuals[0],
            expected_residual=residuals[1],
            snr_db=snr_db,
            noise_std=volume.noise_std,
            folded=folded,
            scale=first.scale,
            acceleration=volume.acceleration,
            acs_shape=first.acs_shape,
            n_readout=volume.n_positions,
            n_virtual_coils=first.kspace.shape[1],
            seconds=self.seconds | {"total": total},
            warnings=warnings,
        )
