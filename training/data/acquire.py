"""Makes the training scan of a manifest entry: read, bring to size, acquire, calibrate."""

from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from jrsr_core.calibration.noise import estimate_noise_std
from jrsr_core.common.cancellation import checkpoint
from jrsr_core.matrix import hr_length, lr_shape
from jrsr_core.physics.fourier import ifft2c
from jrsr_core.physics.resolution import Shape, crop_or_pad
from jrsr_core.simulation.acquisition import AcquiredSlice, to_low_resolution
from jrsr_core.simulation.image_stack import check_finite
from jrsr_core.simulation.masks import make_mask
from jrsr_core.simulation.protocols import scan_image

from .manifest import Acquisition, Entry, Manifest
from .scans import TrainingScan, calibrate_scan
from .sources import Source, SourceError, open_source
from .variety.ranges import Variety
from .variety.vary import coarser_pixels, draw_scan

FIRST_SEED = 2**31
"""Lowest seed of a training scan; seeds of test scans (slice indices) lie below. A generator
takes 32 bits of a seed, so that a larger offset would have no effect."""

SEED_STRIDE = 1_000_003
"""Step of the seed of a scan, or of a training step, from one seed of a run to the next; of a scan
also from one visit of its slice to the next. It is above the number of slices, so that the scans of
a run differ. Runs share scans: visit v + 1 with seed s is visit v with seed s + 1."""

N_DRAWS = 4
"""Times that a scan is drawn until it can be calibrated."""


@lru_cache(maxsize=32)
def _mask(name: str, shape: Shape, acceleration: float, n_acs: int) -> Tensor:
    """One mask for a whole data set, as in the paper."""
    return make_mask(name, shape, acceleration, n_acs=n_acs, seed=0)


@lru_cache(maxsize=64)
def _source(path: str, kind: str) -> Source:
    source = open_source(Path(path))
    if source.kind != kind:
        raise SourceError(f"{path}: is {source.kind}, the manifest says {kind}")
    return source


def source_of(manifest: Manifest, entry: Entry) -> Source:
    """Return the source of a scan, opened once per process."""
    return _source(manifest.paths[entry.source], manifest.sources[entry.source]["kind"])


def _fit_image(image: Tensor, limit: int) -> Tensor:
    """Coarser pixels until the longest side is `limit`, then even sizes."""
    if limit and max(image.shape) > limit:
        image = coarser_pixels(image, max(image.shape) / limit)
    image = image[: hr_length(image.shape[0]), : hr_length(image.shape[1])]
    return image / image.max().clamp_min(1e-12)


def _fit_kspace(kspace: Tensor, limit: int) -> Tensor:
    ny, nx = kspace.shape[-2:]
    zoom = max(max(ny, nx) / limit, 1.0) if limit else 1.0
    return crop_or_pad(kspace, (hr_length(round(ny / zoom)), hr_length(round(nx / zoom))))


def scan_seed(manifest: Manifest, entry: Entry) -> int:
    """Return the seed of coils, phase and noise of a scan, which no test scan has.

    Manifests of version 1 used the seeds of the test scans.
    """
    seed = manifest.acquisition.seed * SEED_STRIDE + entry.seed
    return seed if manifest.version == 1 else FIRST_SEED + seed % FIRST_SEED


def undersample(kspace: Tensor, mask: Tensor) -> AcquiredSlice:
    """Undersample measured, fully sampled HR k-space ``(coil, ky, kx)`` of even size.

    Its own noise remains, in the truth as well.
    """
    full = to_low_resolution(kspace, (mask.shape[0], mask.shape[1]))
    std = estimate_noise_std(full, torch.ones_like(mask))
    return AcquiredSlice(
        mask=mask,
        fully_sampled=full,
        clean=full,
        coil_images=ifft2c(kspace),
        noise_std=float(std),
    )


def _limited(variety: Variety, limit: int) -> Variety:
    """Return the variety with HR sizes of at most `limit`, if that is not 0."""
    if not limit:
        return variety
    smallest, largest = (min(n, hr_length(limit)) for n in variety.hr_size)
    longest = max((n for shape in variety.shapes for n in shape), default=0)
    factor = min(limit / longest, 1.0) if longest else 1.0
    shapes = tuple(
        (hr_length(round(factor * y)), hr_length(round(factor * x))) for y, x in variety.shapes
    )
    return replace(variety, hr_size=(smallest, largest), shapes=shapes)


def bring_to_size(data: Tensor, limit: int) -> tuple[Tensor, Shape]:
    """Return what a source gave in even sizes of at most `limit` (0: any), and its LR matrix.

    It is a magnitude ``(y, x)`` or k-space ``(coil, ky, kx)``.
    """
    data = (_fit_kspace if data.is_complex() else _fit_image)(data, limit)
    return data, lr_shape((data.shape[-2], data.shape[-1]))


def _acquire(data: Tensor, acquisition: Acquisition, generator: torch.Generator) -> AcquiredSlice:
    """Acquire the magnitude ``(y, x)`` or the k-space ``(coil, ky, kx)`` of a source."""
    data, matrix = bring_to_size(data, acquisition.hr_limit)
    protocol = acquisition.fitted(matrix)
    if acquisition.variety is not None:
        variety = _limited(acquisition.variety, acquisition.hr_limit)
        return draw_scan(data, protocol, variety, generator)
    mask = _mask(protocol.mask, matrix, protocol.acceleration, protocol.n_acs)
    if data.is_complex():
        return undersample(data, mask)
    return scan_image(data, protocol, mask, generator)


def _calibrated(data: Tensor, acquisition: Acquisition, generator: torch.Generator) -> TrainingScan:
    checkpoint()
    acquired = _acquire(data, acquisition, generator)
    checkpoint()
    return calibrate_scan(acquired, acquisition.truth_maps, acquisition.n_maps)


def make_scan(manifest: Manifest, entry: Entry) -> TrainingScan:
    """Return the training scan of an entry; the same entry always gives the same scan.

    A check of the caller (`common.cancellation`) ends it between acquisition and calibration.

    Raises
    ------
    ValueError
        The slice has values that are not finite, or its scan cannot be calibrated; source and slice
        are named.
    """
    acquisition = manifest.acquisition
    generator = torch.Generator().manual_seed(scan_seed(manifest, entry))
    name = f"{manifest.sources[entry.source]['name']}: slice {entry.slice}"
    data = source_of(manifest, entry).read(entry.slice)
    check_finite(data, name)
    # A scan that was drawn and cannot be calibrated is drawn again, with other numbers.
    n_draws = N_DRAWS if acquisition.variety is not None else 1
    try:
        for _ in range(n_draws - 1):
            with suppress(ValueError):
                return _calibrated(data, acquisition, generator)
        return _calibrated(data, acquisition, generator)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
