"""Varied scans of an image: coils, phase, noise, mask, matrix, pixel, contrast, shading at random.

Weights trained on the narrow protocol alone fail on real scans, and so do weights trained on
phase that is smooth everywhere, because fat and water differ in phase.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional

from jrsr_core.physics.fourier import fft2c, ifft2c
from jrsr_core.physics.resolution import Shape, crop_or_pad, grid_scale
from jrsr_core.simulation.acquisition import AcquiredSlice, acquire
from jrsr_core.simulation.coils import random_coils
from jrsr_core.simulation.fields import (
    object_mask,
    random_bias,
    random_phase,
    tissue_phase,
    uniform,
)
from jrsr_core.simulation.masks import (
    gaussian_mask,
    make_mask,
    random_mask,
    regular_mask,
)
from jrsr_core.simulation.protocols import Protocol


@dataclass(frozen=True)
class Variety:
    """Ranges that scans are drawn from, uniformly; a range of equal ends is a constant.

    `pixel_zoom` is the factor by which pixels grow, `margin` the field of view over the bounding
    box of the object, `hr_size` limits the HR matrix along either axis. `masks` are kinds with
    their probability. `protocol_share` of the scans have the matrix of the image and the mask of
    the protocol; in `tissue_phase` of the scans the phase jumps from tissue to tissue.

    Scans of one batch have one shape. With `shapes` the HR matrix is the smallest of these that
    covers the field of view that was drawn, the largest where none does; with `coil_counts` fewer
    coils than the largest of them become the largest count that is not above them. The object then
    has more or less air around it; nothing is padded after the acquisition.
    """

    n_coils: tuple[int, int] = (4, 32)
    noise_db: tuple[float, float] = (18.0, 42.0)
    acceleration: tuple[float, float] = (1.2, 4.5)
    n_acs: tuple[int, int] = (16, 30)
    pixel_zoom: tuple[float, float] = (1.0, 1.3)
    margin: tuple[float, float] = (1.0, 1.6)
    hr_size: tuple[int, int] = (144, 320)
    masks: tuple[tuple[str, float], ...] = (
        ("gaussian", 0.40),
        ("regular", 0.35),
        ("random", 0.13),
        ("full", 0.12),
    )
    protocol_share: float = 0.25
    tissue_phase: float = 0.6
    shapes: tuple[Shape, ...] = ()
    coil_counts: tuple[int, ...] = ()


SHAPES: tuple[Shape, ...] = ((160, 160), (208, 208), (232, 256), (256, 232), (304, 304))
COIL_COUNTS = (6, 12)
"""Ten shapes at most: two of the protocol's matrix, three square ones up to the largest field of
view; 12 virtual coils, and 6 for scans with fewer."""


def _bucket(wanted: Shape, shapes: tuple[Shape, ...]) -> Shape:
    """Return the smallest of the shapes that covers `wanted`, or the largest."""
    fitting = [s for s in shapes if s[0] >= wanted[0] and s[1] >= wanted[1]]
    return min(fitting or [max(shapes, key=lambda s: s[0] * s[1])], key=lambda s: s[0] * s[1])


def _integer(limits: tuple[int, int], generator: Generator) -> int:
    return int(torch.randint(limits[0], limits[1] + 1, (), generator=generator))


def coarser_pixels(image: Tensor, zoom: float) -> Tensor:
    """Return the same field of view with pixels `zoom` times as large, by cropping k-space.

    Never finer: zero-padding would make a truth without any high frequencies.
    """
    ny, nx = image.shape
    shape: Shape = (2 * round(ny / zoom / 2), 2 * round(nx / zoom / 2))
    kspace = crop_or_pad(fft2c(image.to(torch.complex64)), shape)
    return (ifft2c(kspace) * grid_scale(shape, (ny, nx))).real.clamp_min(0.0)


def tight_field_of_view(image: Tensor, variety: Variety, generator: Generator) -> Tensor:
    """Crop or pad to the bounding box of the object times a random margin, to even sizes."""
    object_ = object_mask(image)
    sizes, middles = [], []
    for axis in (0, 1):
        where = torch.nonzero(object_.any(1 - axis)).flatten()
        low, high = (int(where[0]), int(where[-1])) if len(where) else (0, image.shape[axis] - 1)
        wanted = (high - low + 1) * uniform(*variety.margin, generator)
        size = min(max(2 * round(wanted / 2), variety.hr_size[0]), variety.hr_size[1])
        sizes.append(size)
        middles.append((low + high + 1) // 2)
    if variety.shapes:
        sizes = list(_bucket((sizes[0], sizes[1]), variety.shapes))
    starts = [middle - size // 2 for middle, size in zip(middles, sizes, strict=True)]
    padding = max(sizes)
    padded = functional.pad(image, (padding,) * 4)
    y, x = (s + padding for s in starts)
    return padded[y : y + sizes[0], x : x + sizes[1]].clone()


def vary_image(image: Tensor, variety: Variety, generator: Generator) -> Tensor:
    """Return the image with another pixel size, field of view, orientation, contrast and shading.

    Its maximum is 1.
    """
    image = coarser_pixels(image, uniform(*variety.pixel_zoom, generator))
    image = tight_field_of_view(image, variety, generator)
    for axis in (0, 1):
        if torch.rand((), generator=generator) < 0.5:
            image = image.flip(axis)
    transposed = torch.rand((), generator=generator) < 0.4
    if transposed and (not variety.shapes or tuple(image.T.shape) in variety.shapes):
        image = image.T
    image = (image / image.max().clamp_min(1e-6)) ** uniform(0.7, 1.3, generator)
    image = image * random_bias((image.shape[0], image.shape[1]), generator)
    return (image / image.max().clamp_min(1e-6)).contiguous()


def draw_mask(shape: Shape, variety: Variety, generator: Generator) -> Tensor:
    """Draw one mask of the listed kinds, whose ACS leaves room for lines outside it."""
    names, weights = zip(*variety.masks, strict=True)
    name = names[int(torch.multinomial(torch.tensor(weights), 1, generator=generator))]
    n_acs = min(_integer(variety.n_acs, generator), shape[0] // 3, shape[1] // 3)
    acceleration = uniform(*variety.acceleration, generator)
    seed = _integer((0, 2**31 - 2), generator)
    if name == "gaussian":
        acceleration = min(acceleration, shape[0] / (n_acs + 4))
        floor = uniform(0.1, 0.6, generator)
        sigma = uniform(0.1, 0.25, generator)
        return gaussian_mask(shape, acceleration, n_acs=n_acs, seed=seed, sigma=sigma, floor=floor)
    if name == "regular":
        return regular_mask(shape, _integer((2, 4), generator), n_acs=n_acs)
    if name == "random":
        return random_mask(shape, 1.5 + acceleration, n_acs=n_acs, seed=seed)
    return torch.ones(shape)


def scan_varied(
    image: Tensor,
    mask: Tensor,
    n_coils: int,
    noise_db: float,
    generator: Generator,
    tissue_share: float = 0.0,
) -> AcquiredSlice:
    """Scan the HR magnitude `image` ``(y, x)`` with coils and phase of random character.

    In a share `tissue_share` of the scans the phase also jumps from tissue to tissue.
    """
    shape: Shape = (image.shape[0], image.shape[1])
    local = float(torch.rand((), generator=generator) ** 2)
    csm = random_coils(n_coils, shape, generator, local=local)
    phase = random_phase(shape, generator, uniform(0.0, 2.0, generator))
    # No number is drawn for a share of 0: the later draws of such folders depend on it.
    if tissue_share and torch.rand((), generator=generator) < tissue_share:
        phase = phase * tissue_phase(image, generator)
    return acquire(image * phase, csm, mask, noise_db=noise_db, generator=generator)


def draw_scan(
    image: Tensor, protocol: Protocol, variety: Variety, generator: Generator
) -> AcquiredSlice:
    """Draw one random scan of the HR magnitude `image` ``(y, x)``.

    A share `variety.protocol_share` keeps the matrix of the image and the mask of the protocol.
    """
    if torch.rand((), generator=generator) < variety.protocol_share:
        image = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
        lr_shape = protocol.lr_shape((image.shape[0], image.shape[1]))
        n_acs, n_coils = protocol.n_acs, protocol.n_coils
        mask = make_mask(protocol.mask, lr_shape, protocol.acceleration, n_acs=n_acs)
        noise_db = uniform(26.0, 34.0, generator)
    else:
        image = vary_image(image, variety, generator)
        mask = draw_mask((image.shape[0] // 2, image.shape[1] // 2), variety, generator)
        n_coils = _integer(variety.n_coils, generator)
        if variety.coil_counts and n_coils < max(variety.coil_counts):
            counts = [n for n in variety.coil_counts if n <= n_coils]
            n_coils = max(counts, default=min(variety.coil_counts))
        noise_db = uniform(*variety.noise_db, generator)
    return scan_varied(image, mask, n_coils, noise_db, generator, variety.tissue_phase)
