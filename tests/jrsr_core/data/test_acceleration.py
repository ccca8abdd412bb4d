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


@pytest.mark.parametrize(("name", "factor"), [("gaussian", 2.5), ("poisson", 4), ("random", 4)])
def test_the_narrow_ends_of_a_pattern_belong_to_it(name, factor):
    mask = make_mask(name, (116, 128), factor)
    assert sampled_acceleration(mask) == acceleration_of(mask)


def test_a_lost_line_and_both_ends_of_a_larger_matrix():
    mask = torch.zeros(SHAPE)
    mask[10:90] = 1
    assert sampled_acceleration(mask) == 1
    mask[50] = 0
    assert sampled_acceleration(mask) == 80 / 79
    assert sampled_acceleration(np.zeros(SHAPE, bool)) == 0
