"""The way of the data as generator stages, shared by everything that has lines and wants images."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import ismrmrd
import numpy as np

from jrsr_core.geometry import KSpaceSlice, KSpaceVolume, ReconImage
from jrsr_core.mrd.assemble import Assembler
from jrsr_core.mrd.errors import BadSamples, UnsupportedScan
from jrsr_core.mrd.file import ScanFile
from jrsr_core.mrd.images import crop_to_fov, to_mrd_image
from jrsr_core.mrd.lines import NOISE, LineSource, has_flag
from jrsr_core.mrd.noise import NoiseData, read_noise
from jrsr_core.mrd.plan import ScanPlan
from jrsr_core.pipeline import Reconstructor, load_reconstructor
from jrsr_core.volume import Tick, fallback_volume, reconstruct_volume

from .check import check_model
from .errors import UsageError, describe
from .settings import Settings


@dataclass(frozen=True, eq=False)
class Result:
    """One finished image: as arrays and as the message that goes out."""

    image: ReconImage
    mrd: ismrmrd.Image

    @property
    def is_fallback(self) -> bool:
        """Whether the model had no part in it."""
        return bool(self.image.report.fallback)


def make_assembler(source: LineSource, plan: ScanPlan, settings: Settings) -> Assembler:
    """Assemble a planned scan, whitened as the settings say.

    Raises
    ------
    UsageError
        `noise_file` has no noise lines.
    FileNotFoundError, BadScan
        `noise_file` cannot be read.
    """
    noise = None
    if settings.prewhiten and settings.noise_file:
        noise = _noise_of(settings.noise_file)
    return Assembler(
        source,
        plan,
        prewhiten=settings.prewhiten,
        noise=noise,
        n_virtual_coils=settings.n_virtual_coils,
    )


def _noise_of(path: str) -> NoiseData:
    with ScanFile(path) as scan:
        lines = np.flatnonzero(has_flag(scan.heads, NOISE))
        noise = read_noise(scan, lines, scan.header.noise_bandwidth)
    if noise is None:
        raise UsageError(f"noise_file {path} has no noise lines")
    return noise


def make_reconstructor(settings: Settings) -> Reconstructor:
    """Load the model once for all scans.

    Raises
    ------
    UsageError
        Unknown model or preset.
    ValueError
        Weights that do not match their card.
    """
    check_model(settings)
    return load_reconstructor(
        settings.model,
        preset=settings.preset,
        weights=settings.weights or None,
        device=settings.device,
        n_virtual_coils=settings.n_virtual_coils,
        kernel_width=settings.kernel_width,
        threshold=settings.threshold,
        crop=settings.crop,
    )


def reconstruct(
    slices: Assembler, recon: Reconstructor, settings: Settings, tick: Tick = lambda: None
) -> Iterator[ReconImage]:
    """Yield one image per slice or volume; one that fails becomes a fallback image, or stops.

    `tick` is called for every slice, and every readout position of a volume.

    Raises
    ------
    BadScan
        If no slice has intact samples: there is nothing to be delivered then.
    """
    n_broken = 0
    for counters in slices.plan.groups:
        try:
            made = slices.assemble(counters)
        except BadSamples as error:
            n_broken += 1
            if settings.on_failure == "stop" or n_broken == len(slices):
                raise
            yield _fallback(error.rest, recon, describe(error), tick)
        else:
            yield _image_or_fallback(made, recon, settings, tick)


def _image_or_fallback(
    made: KSpaceSlice | KSpaceVolume, recon: Reconstructor, settings: Settings, tick: Tick
) -> ReconImage:
    try:
        if isinstance(made, KSpaceVolume):
            return reconstruct_volume(recon, made, batch_size=settings.batch_size, tick=tick)
        image = recon(made)
    except (ValueError, RuntimeError) as error:
        reason = describe(error)
        if settings.on_failure == "stop":
            raise UnsupportedScan(f"slice {made.counters.slice}: {reason}") from error
        return _fallback(made, recon, reason, tick)
    tick()
    return image


def _fallback(
    made: KSpaceSlice | KSpaceVolume, recon: Reconstructor, reason: str, tick: Tick
) -> ReconImage:
    if isinstance(made, KSpaceVolume):
        return fallback_volume(recon, made, reason, tick=tick)
    image = recon.fallback(made, reason)
    tick()
    return image


def to_results(
    images: Iterable[ReconImage], plan: ScanPlan, settings: Settings
) -> Iterator[Result]:
    """Remove phase oversampling and put headers on."""
    for number, image in enumerate(images, start=1):
        cropped = crop_to_fov(image, plan.encoding_of(image.counters).recon_fov_mm)
        yield Result(
            cropped,
            to_mrd_image(
                cropped,
                plan.header,
                series_index=settings.series_index + plan.series_of(image.counters),
                image_index=number,
                as_complex=settings.output == "complex",
            ),
        )
