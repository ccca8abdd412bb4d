"""One entry of a manifest becomes one scan: read, bring to size, undersample, calibrate."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from jrsr_core.physics.resolution import Shape, crop_or_pad
from jrsr_core.simulation.masks import make_mask

from .manifest import Acquisition, Entry, Manifest
from .scans import TrainingScan, calibrate_scan
from .sources import Source, SourceError, open_source
from .variety import DrawnScan, coarser_pixels, draw_scan, scan_as_protocol, scan_kspace

FIRST_SEED = 2**31
"""Seeds of training scans lie from here on, those of test scans (slice indices) below. A generator
takes 32 bits of a seed, so that a larger offset would be none."""


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


def _even(n: int) -> int:
    return n // 2 * 2


def _fit_image(image: Tensor, limit: int) -> Tensor:
    """Coarser pixels until the longest side is `limit`, then even sizes."""
    if limit and max(image.shape) > limit:
        image = coarser_pixels(image, max(image.shape) / limit)
    image = image[: _even(image.shape[0]), : _even(image.shape[1])]
    return image / image.max().clamp_min(1e-12)


def _fit_kspace(kspace: Tensor, limit: int) -> Tensor:
    ny, nx = kspace.shape[-2:]
    zoom = max(max(ny, nx) / limit, 1.0) if limit else 1.0
    return crop_or_pad(kspace, (_even(round(ny / zoom)), _even(round(nx / zoom))))


def scan_seed(manifest: Manifest, entry: Entry) -> int:
    """Return the seed of coils, phase and noise of a scan; no test scan has it.

    Manifests of version 1 had the test scans' own.
    """
    seed = manifest.acquisition.seed * 1_000_003 + entry.seed
    return seed if manifest.version == 1 else FIRST_SEED + seed % FIRST_SEED


def _draw_varied(image: Tensor, acquisition: Acquisition, generator: torch.Generator) -> DrawnScan:
    """Draw a scan whose longest side `hr_limit` bounds as well, where there is one."""
    variety, limit = acquisition.variety, acquisition.hr_limit
    if limit:
        smallest, largest = (min(n, _even(limit)) for n in variety.hr_size)
        variety = replace(variety, hr_size=(smallest, largest))
    protocol = acquisition.fitted((image.shape[0] // 2, image.shape[1] // 2))
    return draw_scan(image, protocol, variety, generator)


def _draw(data: Tensor, acquisition: Acquisition, generator: torch.Generator) -> DrawnScan:
    fit = _fit_kspace if data.is_complex() else _fit_image
    data = fit(data, acquisition.hr_limit)
    if acquisition.variety is not None:
        return _draw_varied(data, acquisition, generator)
    lr_shape: Shape = (data.shape[-2] // 2, data.shape[-1] // 2)
    protocol = acquisition.fitted(lr_shape)
    mask = _mask(protocol.mask, lr_shape, protocol.acceleration, protocol.n_acs)
    if data.is_complex():
        return scan_kspace(data, mask)
    return scan_as_protocol(data, protocol, mask, generator)


def make_scan(manifest: Manifest, entry: Entry) -> TrainingScan:
    """Make one scan of a manifest; the same entry always gives the same scan.

    Raises
    ------
    ValueError
        The scan cannot be calibrated; source and slice are named.
    """
    acquisition = manifest.acquisition
    source = _source(manifest.paths[entry.source], manifest.sources[entry.source]["kind"])
    generator = torch.Generator().manual_seed(scan_seed(manifest, entry))
    data = source.read(entry.slice)
    try:
        drawn = _draw(data, acquisition, generator)
        return calibrate_scan(drawn, acquisition.truth_maps, acquisition.n_maps)
    except ValueError as error:
        name = manifest.sources[entry.source]["name"]
        raise ValueError(f"{name}: slice {entry.slice}: {error}") from error
