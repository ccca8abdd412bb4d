"""Random sampling masks of training scans."""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from jrsr_core.physics.resolution import Shape
from jrsr_core.simulation.fields import uniform
from jrsr_core.simulation.masks import gaussian_mask, random_mask, regular_mask

from .ranges import Variety

MOST_OUTSIDE = 8
"""Lines outside the ACS of the kind `centre`, at most."""

LEAST_OF_PARTIAL = 0.6
"""Part of k-space along ky that a partial Fourier scan covers, at least."""


def chosen(weighted: Sequence[tuple[str, float]], generator: Generator) -> str:
    """Return one of the names, drawn by their weights."""
    names, weights = zip(*weighted, strict=True)
    return names[int(torch.multinomial(torch.tensor(weights), 1, generator=generator))]


def whole(limits: tuple[int, int], generator: Generator) -> int:
    """Return a whole number from the first to the last, both included."""
    return int(torch.randint(limits[0], limits[1] + 1, (), generator=generator))


def draw_mask(shape: Shape, variety: Variety, generator: Generator) -> Tensor:
    """Draw one mask of the listed kinds, whose ACS leaves room for lines outside it.

    `centre` is the ACS with up to `MOST_OUTSIDE` lines elsewhere. A share `variety.partial_fourier`
    then loses the lines at one end of k-space.
    """
    mask = _draw_kind(shape, variety, generator)
    # No number is drawn for a share of 0: the later draws of such folders depend on it.
    if variety.partial_fourier and torch.rand((), generator=generator) < variety.partial_fourier:
        return partial_fourier(mask, generator)
    return mask


def partial_fourier(mask: Tensor, generator: Generator) -> Tensor:
    """Return a mask of whole lines without those at one end of ky; other masks as they are.

    The lines around the centre that are all sampled, which calibrate the coils, remain.
    """
    if not bool((mask == mask[:, :1]).all()):
        return mask
    n, lines = mask.shape[0], mask[:, 0] > 0
    n_missing = round(n * (1 - uniform(LEAST_OF_PARTIAL, 0.9, generator)))
    if not lines.all():
        gaps = torch.nonzero(~lines[: n // 2]).flatten()
        n_missing = min(n_missing, int(gaps[-1]) + 1 if len(gaps) else 0)
    cut = mask.clone()
    cut[:n_missing] = 0
    flipped = torch.rand((), generator=generator) < 0.5
    # Mirrored about the centre n // 2; of an even size the first line has no partner.
    return torch.roll(cut.flip(0), 1 - n % 2, 0) if flipped else cut


def _draw_kind(shape: Shape, variety: Variety, generator: Generator) -> Tensor:
    name = chosen(variety.masks, generator)
    n_acs = min(whole(variety.n_acs, generator), shape[0] // 3, shape[1] // 3)
    acceleration = uniform(*variety.acceleration, generator)
    seed = whole((0, 2**31 - 2), generator)
    if name == "centre":
        n_lines = n_acs + whole((0, MOST_OUTSIDE), generator)
        return gaussian_mask(shape, shape[0] / n_lines, n_acs=n_acs, seed=seed, floor=1.0)
    if name == "gaussian":
        acceleration = min(acceleration, shape[0] / (n_acs + 4))
        floor = uniform(0.1, 0.6, generator)
        sigma = uniform(0.1, 0.25, generator)
        return gaussian_mask(shape, acceleration, n_acs=n_acs, seed=seed, sigma=sigma, floor=floor)
    if name == "regular":
        most = max(int(variety.acceleration[1]), 2)
        return regular_mask(shape, whole((2, most), generator), n_acs=n_acs)
    if name == "random":
        return random_mask(shape, 1.5 + acceleration, n_acs=n_acs, seed=seed)
    return torch.ones(shape)
