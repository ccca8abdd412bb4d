"""Acceleration of all of k-space, and of its sampled part, which alone folds the image."""

import math

import numpy as np
import pytest
import torch

from jrsr_core.data.acceleration import acceleration_of, sampled_acceleration
from jrsr_core.simulation.masks import make_mask

SHAPE = (96, 80)


def cut(mask, lines=0, samples=0):
    """The mask without its first lines, and without the first samples of each line."""
    mask = mask.clone()
    mask[:lines] = 0
    mask[:, :samples] = 0
    return mask


@pytest.mark.parametrize("kind", [torch.Tensor.clone, torch.Tensor.numpy])
@pytest.mark.parametrize(("lines", "samples"), [(0, 0), (36, 0), (0, 20), (36, 20)])
def test_what_partial_fourier_leaves_out_folds_nothing(lines, samples, kind):
    mask = kind(cut(torch.ones(SHAPE), lines, samples))
    assert sampled_acceleration(mask) == 1
    assert acceleration_of(mask) == math.prod(SHAPE) / ((96 - lines) * (80 - samples))


@pytest.mark.parametrize("step", [2, 3, 4])
def test_a_regular_pattern_keeps_its_acceleration(step):
    mask = torch.zeros(SHAPE)
    mask[step - 1 :: step] = 1
    assert sampled_acceleration(mask) == acceleration_of(mask) == step
    assert sampled_acceleration(cut(mask, 36)) == pytest.approx(step, rel=0.06)


@pytest.mark.parametrize("factor", [2.5, 4, 6, 8])
@pytest.mark.parametrize("n", [116, 128, 192, 256])
def test_the_thin_ends_of_a_gaussian_pattern_belong_to_it(n, factor):
    """But for a rare pattern of few lines that happens to have all of them on one side."""
    masks = [make_mask("gaussian", (n, 32), factor, n_acs=8, seed=seed) for seed in range(20)]
    assert sum(sampled_acceleration(m) < 0.75 * acceleration_of(m) for m in masks) <= 1


@pytest.mark.parametrize(("name", "factor"), [("poisson", 4), ("random", 4)])
def test_other_patterns_have_no_ends(name, factor):
    mask = make_mask(name, (116, 128), factor)
    assert sampled_acceleration(mask) == acceleration_of(mask)


def test_both_ends_alike_are_part_of_the_pattern():
    mask = torch.zeros(SHAPE)
    mask[10:86] = 1
    assert sampled_acceleration(mask) == acceleration_of(mask) == 96 / 76
    mask[10:20] = 0
    assert sampled_acceleration(mask) == 86 / 66
    assert sampled_acceleration(np.zeros(SHAPE, bool)) == 0
