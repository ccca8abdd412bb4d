"""Array conventions, and the conversions that every other module uses.

Axes are counted from the end: image ``(*batch, [map,] y, x)``, k-space ``(*batch, coil, ky, kx)``,
coil sensitivity maps ``(*batch, [map,] coil, y, x)``; x is the readout, y the phase encode.
Everything is complex64; real channels exist only inside network layers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

EPS = 1e-8

_waits: ContextVar[bool] = ContextVar("waits", default=True)


@contextmanager
def without_waiting() -> Iterator[None]:
    """Let no solver and no clock wait for a GPU within the context.

    Iterations then do all their steps: `all_true` does not look at its condition, because a branch
    on a value waits until the GPU has computed it. Samples that have converged keep their result.
    """
    token = _waits.set(False)
    try:
        yield
    finally:
        _waits.reset(token)


def waits() -> bool:
    """Return whether code may wait for a GPU; see `without_waiting`."""
    return _waits.get()


def all_true(condition: Tensor, *, unknown: bool = False) -> bool:
    """Return whether a condition holds everywhere; `unknown` within `without_waiting`."""
    return bool(condition.all()) if _waits.get() else unknown


def to_channels(image: Tensor) -> Tensor:
    """Return real and imaginary part of ``(*batch, y, x)`` as channels ``(*batch, 2, y, x)``."""
    return torch.stack((image.real, image.imag), dim=-3)


def to_complex(channels: Tensor) -> Tensor:
    """Return complex ``(*batch, y, x)`` from channels ``(*batch, 2, y, x)``.

    Half-precision channels, as a network under autocast returns them, become float32 first.
    """
    if channels.shape[-3] != 2:
        raise ValueError(f"to_complex needs 2 channels (real, imaginary), got {channels.shape[-3]}")
    if channels.dtype in (torch.bfloat16, torch.float16):
        channels = channels.float()
    return torch.complex(channels.select(-3, 0), channels.select(-3, 1))


def inner_product(a: Tensor, b: Tensor, n_dims: int) -> Tensor:
    """Return Re <a, b> per sample, summed over the last `n_dims` axes, kept with size 1.

    Per sample and not over the whole batch: a step length shared by a batch would make the
    result of one slice depend on its neighbours.
    """
    dims = tuple(range(-n_dims, 0))
    if a.is_complex():
        return (a.real * b.real + a.imag * b.imag).sum(dims, keepdim=True)
    return (a * b).sum(dims, keepdim=True)


def is_finite(x: Tensor) -> bool:
    """Return whether all of a real or complex tensor is finite; True within `without_waiting`."""
    return all_true(torch.isfinite(torch.view_as_real(x) if x.is_complex() else x), unknown=True)


def energy(x: Tensor) -> Tensor:
    """Return the sum of |x|^2, in double precision: no square of a float32 leaves its range."""
    return x.abs().double().square().sum()


def norm(a: Tensor, n_dims: int) -> Tensor:
    """Return the l2 norm per sample over the last `n_dims` axes, kept with size 1."""
    return inner_product(a, a, n_dims).sqrt()


def relative_change(x: Tensor, fx: Tensor, n_dims: int) -> Tensor:
    """Return |fx - x| / |fx| per sample, the residual of a fixed point; 0 where both are zero."""
    return norm(fx - x, n_dims) / (norm(fx, n_dims) + EPS)


def hann(n: int) -> Tensor:
    """Return a Hann window of n samples, largest at ``n//2`` or beside it, nowhere zero."""
    return torch.hann_window(n + 2, periodic=False)[1:-1]


def local_mean(values: Tensor, window: int) -> Tensor:
    """Return the mean in a square window around each pixel ``(batch, y, x)``; `window` is odd.

    At the border the mean is over the part of the window inside the image.
    """
    return avg_pool2d(values, window, stride=1, padding=window // 2, count_include_pad=False)
