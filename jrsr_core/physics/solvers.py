"""Iterative solvers on plain callables; every sample of a batch has its own step length."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from jrsr_core.arrays import Array, as_tensor
from jrsr_core.common.cancellation import checkpoint
from jrsr_core.numeric import checked_count
from jrsr_core.tensors import all_true, inner_product, norm


@dataclass(frozen=True)
class SolverReport:
    """How a solve ended.

    Iterations done, relative residual per sample of the returned iterate, and why it stopped.
    """

    iterations: int
    residual: Tensor
    stopped_by: str


def conjugate_gradient(
    normal: Callable[[Tensor], Tensor],
    rhs: Array,
    *,
    x0: Array | None = None,
    normal_x0: Array | None = None,
    n_iter: int = 30,
    tolerance: float = 1e-5,
    n_dims: int = 2,
) -> tuple[Tensor, SolverReport]:
    """Solve N x = rhs for Hermitian positive semi-definite N (Hestenes and Stiefel, 1952).

    Parameters
    ----------
    normal
        The map x -> N x, for instance ``lambda x: sense.gram(x) + mu * x``.
    rhs
        ``(*batch, ...)``; the last `n_dims` axes are one sample.
    x0, normal_x0
        Start, zero where None; and N x0, where it is known already.
    n_iter, tolerance
        Stop after `n_iter` steps, or when ``||rhs - N x|| <= tolerance ||rhs||`` in every sample.
    n_dims
        Axes of one sample, with one step length: 2 for images ``(y, x)``, 3 for those of several
        map sets ``(map, y, x)``, which N couples; `SenseOperator.n_image_dims` is this number. With
        fewer axes than N couples the result is wrong.

    Returns
    -------
    x, SolverReport
        A sample that has converged is left as it is while the others go on.

    Raises
    ------
    ValueError
        `rhs` of whole numbers, or `n_iter` that is none.
    """
    checked_count("n_iter", n_iter, least=0)
    rhs = as_tensor(rhs, "rhs")
    if not (rhs.is_floating_point() or rhs.is_complex()):
        kind = str(rhs.dtype).removeprefix("torch.")
        raise ValueError(f"rhs is {kind}, expected float or complex: convert it to complex64")
    x = torch.zeros_like(rhs) if x0 is None else as_tensor(x0, "x0")
    if x0 is None:
        r = rhs
    else:
        r = rhs - (normal(x) if normal_x0 is None else as_tensor(normal_x0, "normal_x0"))
    p = r
    rr = inner_product(r, r, n_dims)
    scale = norm(rhs, n_dims).clamp_min(torch.finfo(rr.dtype).tiny)
    threshold = (tolerance * scale).square()
    iteration, stopped_by = 0, "iterations"
    while iteration < n_iter:
        if all_true(rr <= threshold):
            stopped_by = "tolerance"
            break
        checkpoint()
        q = normal(p)
        pq = inner_product(p, q, n_dims)
        # A sample at its solution, or a direction in the null space, takes no step.
        active = (rr > threshold) & (pq > 0)
        alpha = torch.where(active, rr / pq.clamp_min(torch.finfo(rr.dtype).tiny), 0.0)
        x = x + alpha * p
        r = r - alpha * q
        rr_next = inner_product(r, r, n_dims)
        p = r + (rr_next / rr.clamp_min(torch.finfo(rr.dtype).tiny)) * p
        rr = rr_next
        iteration += 1
    return x, SolverReport(iteration, rr.sqrt() / scale, stopped_by)
