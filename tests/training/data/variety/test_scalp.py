"""Images in a shell of thin layers."""

import math

import numpy as np
import pytest
import torch

from jrsr_core.physics.resolution import crop_or_pad, sinc_interpolate
from jrsr_core.simulation.fields import unit_grid
from jrsr_core.simulation.phantoms import brain_phantom
from training.data.variety.objects import make_object
from training.data.variety.scalp import MARGIN, with_scalp

SHAPE = (96, 104)


def disc(radius):
    """Return 1 inside an ellipse of this share of both sides, else 0."""
    y, x = unit_grid(SHAPE)
    return (y.square() + x.square() <= radius**2).to(torch.float32)


@pytest.fixture
def head():
    """An object without dark pixels, whose outline is smooth."""
    return brain_phantom(SHAPE).clamp_min(0.2) * disc(0.75)


@pytest.mark.parametrize("seed", range(8))
def test_layers_surround_the_image_and_leave_it_as_it_is(head, seed):
    made = with_scalp(head, np.random.default_rng(seed))
    larger = tuple(n + 2 * MARGIN for n in SHAPE)
    assert made.shape == larger and made.dtype == torch.float32
    assert float(made.min()) >= 0 and bool(torch.isfinite(made).all())
    inside, whole = (crop_or_pad(disc(r), larger) > 0 for r in (0.68, 0.82))
    assert torch.equal(made[inside], crop_or_pad(head, larger)[inside])
    # There is a shell in every direction, and detail finer than half the matrix shows.
    shell = made * ~whole
    y, x = unit_grid(larger)
    sector = ((torch.atan2(y, x) / math.pi + 1) * 8).long().clamp(max=15)
    assert all(float(shell[sector == k].max()) > 0 for k in range(16))
    coarse = sinc_interpolate(sinc_interpolate(shell, (80, 84)), larger)
    assert float((shell - coarse).square().sum() / shell.square().sum()) > 0.02


def test_fat_is_brighter_than_the_image_in_most_shells(head):
    shells = [with_scalp(head, np.random.default_rng(seed)) for seed in range(20)]
    brighter = sum(float(made.max()) > 1.2 * float(head.max()) for made in shells)
    assert 10 <= brighter < 20


def test_a_shell_repeats_with_its_seed(head):
    first, again, other = (
        make_object("scalp", head, (0, 0), torch.Generator().manual_seed(s)) for s in (1, 1, 2)
    )
    assert torch.equal(first, again) and float(first.max()) == pytest.approx(1.0)
    assert float((first - other).abs().mean()) > 0.01


def test_an_empty_image_stays_empty():
    made = with_scalp(torch.zeros(SHAPE), np.random.default_rng(0))
    assert float(made.abs().max()) == 0.0
