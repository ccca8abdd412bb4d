"""Half precision on the way to a fixed point, float32 at its end."""

import pytest
import torch

from jrsr_core.models.precision import full_at_the_end, networks_in


def _in_half(steps, *, near=1e-2, n_half=100, precision="bf16"):
    """Whether each of `steps` of x <- x / 2 + 1 was in half precision."""
    seen = []

    def step(x):
        seen.append(torch.is_autocast_enabled("cpu"))
        return x / 2 + 1

    with networks_in(precision, torch.device("cpu")):
        stepped = full_at_the_end(step, near, n_half, "cpu")
        x = torch.zeros(2, 3, 4)
        for _ in range(steps):
            x = stepped(x)
    return seen


def test_float32_once_the_residual_is_small():
    seen = _in_half(12)
    n_half = sum(seen)
    assert seen == [True] * n_half + [False] * (12 - n_half)
    # From x_k = 2 - 2^(1 - k) the residual is 2^-k / (2 - 2^-k), first below 0.01 at k = 6.
    assert n_half == 7


@pytest.mark.parametrize("n_half", [0, 3])
def test_float32_after_so_many_steps(n_half):
    assert _in_half(6, near=0.0, n_half=n_half) == [True] * n_half + [False] * (6 - n_half)


def test_float32_throughout_where_nothing_else_was_asked_for():
    assert not any(_in_half(4, precision="32"))
