"""Varied scans of an image: coils, phase, noise, mask, matrix, pixel, contrast, shading at random.

Weights trained on the narrow protocol alone fail on real scans, and so do weights trained on
phase that is smooth everywhere, because fat and water differ in phase.
"""

import math
from dataclasses import replace

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
from jrsr_core.simulation.masks import make_mask
from jrsr_core.simulation.protocols import Protocol

from .draw_masks import chosen, draw_mask, whole
from .objects import IMAGE, make_object
from .ranges import Variety


def _bucket(wanted: Shape, shapes: tuple[Shape, ...]) -> Shape:
    """Return the smallest of the shapes that covers `wanted`, or the largest."""
    fitting = [s for s in shapes if s[0] >= wanted[0] and s[1] >= wanted[1]]
    return min(fitting or [max(shapes, key=lambda s: s[0] * s[1])], key=lambda s: s[0] * s[1])


def _ranged(limits: tuple[float, float], variety: Variety, generator: Generator) -> float:
    """Return one number of a range, by octaves where the variety says so."""
    if not variety.by_octaves:
        return uniform(*limits, generator)
    return math.exp(uniform(math.log(limits[0]), math.log(limits[1]), generator))


def coarser_pixels(image: Tensor, zoom: float, aspect: float = 1.0) -> Tensor:
    """Return the same field of view with pixels `zoom` times as large, by cropping k-space.

    Those along y are `aspect` times those along x. Never finer: zero-padding would make a truth
    without any high frequencies.
    """
    ny, nx = image.shape
    along_y, along_x = zoom * max(aspect, 1.0), zoom * max(1 / aspect, 1.0)
    shape: Shape = (2 * round(ny / along_y / 2), 2 * round(nx / along_x / 2))
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


def random_tone(image: Tensor, generator: Generator) -> Tensor:
    """Return an image in [0, 1] through a random tone curve; air stays black.

    The curve is linear between eight points and need not be monotone: what is bright in one
    sequence is dark in another.
    """
    n = 8
    points = torch.cat((torch.zeros(1), torch.rand(n, generator=generator)))
    position = (image.clamp(0, 1) * n).clamp(max=n - 1e-4)
    low = position.floor()
    index = low.long()
    return torch.lerp(points[index], points[index + 1], position - low)


def vary_image(image: Tensor, variety: Variety, generator: Generator) -> Tensor:
    """Return the image with another pixel size, field of view, orientation, contrast and shading.

    Its maximum is 1.
    """
    zoom = _ranged(variety.pixel_zoom, variety, generator)
    low, high = variety.aspect
    aspect = 1.0 if low == high == 1 else uniform(low, high, generator)
    image = coarser_pixels(image, zoom, aspect)
    image = tight_field_of_view(image, variety, generator)
    for axis in (0, 1):
        if torch.rand((), generator=generator) < 0.5:
            image = image.flip(axis)
    transposed = torch.rand((), generator=generator) < 0.4
    if transposed and (not variety.shapes or tuple(image.T.shape) in variety.shapes):
        image = image.T
    return shaded(image, variety, generator)


def shaded(image: Tensor, variety: Variety, generator: Generator) -> Tensor:
    """Return the image with another contrast and shading, its maximum 1."""
    image = (image / image.max().clamp_min(1e-6)) ** uniform(0.7, 1.3, generator)
    if variety.tones and torch.rand((), generator=generator) < variety.tones:
        image = random_tone(image, generator)
    image = image * random_bias((image.shape[0], image.shape[1]), generator)
    return (image / image.max().clamp_min(1e-6)).contiguous()


def draw_shape(variety: Variety, generator: Generator) -> Shape:
    """Return an HR matrix for a made object, at most 2.2 times as long along one axis."""
    low, high = variety.hr_size
    first = _ranged((low, high), variety, generator)
    second = min(max(first * 2.2 ** uniform(-1.0, 1.0, generator), low), high)
    shape = (2 * round(first / 2), 2 * round(second / 2))
    return _bucket(shape, variety.shapes) if variety.shapes else shape


def draw_object(image: Tensor, variety: Variety, generator: Generator) -> Tensor:
    """Return the HR magnitude that is scanned: the image varied, or a made object."""
    kind = chosen(variety.objects, generator) if variety.objects else IMAGE
    if kind == IMAGE:
        return vary_image(image, variety, generator)
    if kind == "bent":
        return vary_image(make_object(kind, image, (0, 0), generator), variety, generator)
    made = make_object(kind, image, draw_shape(variety, generator), generator)
    return shaded(made, variety, generator)


def scan_varied(
    image: Tensor,
    mask: Tensor,
    n_coils: int,
    noise_db: float,
    generator: Generator,
    tissue_share: float = 0.0,
) -> AcquiredSlice:
    """Scan the HR magnitude `image` ``(y, x)`` with coils and phase of random character.

    In a share `tissue_share` of the scans the phase also jumps from tissue to tissue. A mask with
    fewer lines than half the rows of the image is that of a smaller field of view along y.
    """
    shape: Shape = (image.shape[0], image.shape[1])
    local = float(torch.rand((), generator=generator) ** 2)
    csm = random_coils(n_coils, shape, generator, local=local)
    phase = random_phase(shape, generator, uniform(0.0, 2.0, generator))
    # No number is drawn for a share of 0: the later draws of such folders depend on it.
    if tissue_share and torch.rand((), generator=generator) < tissue_share:
        phase = phase * tissue_phase(image, generator)
    n_rows = 2 * mask.shape[0]
    return acquire(image * phase, csm, mask, noise_db=noise_db, generator=generator, n_rows=n_rows)


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
        image = draw_object(image, variety, generator)
        n_rows = image.shape[0]
        # A smaller field of view would be a shape of its own.
        share = 0.0 if variety.shapes else variety.folded
        if share and torch.rand((), generator=generator) < share:
            smaller = 2 * round(n_rows * uniform(0.6, 0.95, generator) / 2)
            n_rows = min(max(smaller, variety.hr_size[0]), n_rows)
        mask = draw_mask((n_rows // 2, image.shape[1] // 2), variety, generator)
        n_coils = _draw_coils(variety, generator)
        noise_db = uniform(*variety.noise_db, generator)
    made = scan_varied(image, mask, n_coils, noise_db, generator, variety.tissue_phase)
    if variety.noise_error:
        wrong = math.exp(variety.noise_error * float(torch.randn((), generator=generator)))
        made = replace(made, noise_std=wrong * made.noise_std)
    return made


def _draw_coils(variety: Variety, generator: Generator) -> int:
    if variety.by_octaves:
        low, high = variety.n_coils
        n_coils = min(int(_ranged((low, high + 1), variety, generator)), high)
    else:
        n_coils = whole(variety.n_coils, generator)
    if variety.coil_counts and n_coils < max(variety.coil_counts):
        counts = [n for n in variety.coil_counts if n <= n_coils]
        n_coils = max(counts, default=min(variety.coil_counts))
    return n_coils
