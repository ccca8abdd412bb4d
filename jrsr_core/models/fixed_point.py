"""Fixed points x* = T(x*) and how to differentiate them.

Picard:    x_(k+1) = T(x_k)
Anderson:  x_(k+1) = sum_i a_i T(x_i),  the a_i with sum 1 that minimise
           |sum_i a_i (T(x_i) - x_i)|^2 + lambda |a|^2 over the last m pairs
           (Anderson, JACM 1965; Walker and Ni, SIAM J. Numer. Anal. 2011)
Residual:  |T(x) - x| / (|T(x)| + eps), per sample; the iterate of least residual is kept, so
           that a solve that diverges still returns something.

Gradient of a loss with dL/dx* = v:  dL/dtheta = (dT/dtheta)^T g,  (I - J^T) g = v,  J = dT/dx:
    jfb       g = v                                     (Fung et al., AAAI 2022)
    neumann   g = sum_(i<=k) (J^T)^i v                  (Gilton et al., TCI 2021)
    implicit  g by the solver above on g = J^T g + v    (Bai et al., NeurIPS 2019)
All apply T once with the graph on; the last two multiply by J^T within the backward pass.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from jrsr_core.common.cancellation import checkpoint
from jrsr_core.physics.solvers import SolverReport
from jrsr_core.tensors import all_true, is_finite, norm, relative_change, waits

Map = Callable[[Tensor], Tensor]
SOLVERS = ("picard", "anderson")
BACKWARDS = ("jfb", "neumann", "implicit")


@dataclass(frozen=True)
class FixedPointSettings:
    """How far and how a fixed point is sought."""

    solver: str = "anderson"
    n_iter: int = 50
    tolerance: float = 1e-4
    memory: int = 5
    regularisation: float = 1e-4

    def __post_init__(self) -> None:
        """Refuse what could not run."""
        if self.solver not in SOLVERS:
            raise ValueError(f"solver is {self.solver!r}, known: {', '.join(SOLVERS)}")
        if self.n_iter < 1 or self.memory < 1:
            raise ValueError(f"n_iter {self.n_iter} and memory {self.memory} must be at least 1")


@dataclass(frozen=True)
class BackwardSettings:
    """How a fixed point is differentiated: `n_terms` of "neumann", `solver` of "implicit"."""

    method: str = "jfb"
    n_terms: int = 5
    solver: FixedPointSettings = FixedPointSettings(n_iter=30, tolerance=1e-3)

    def __post_init__(self) -> None:
        """Refuse what could not run."""
        if self.method not in BACKWARDS:
            raise ValueError(f"backward is {self.method!r}, known: {', '.join(BACKWARDS)}")
        if self.n_terms < 1:
            raise ValueError(f"n_terms is {self.n_terms}, at least 1 is needed")


JACOBIAN_FREE = BackwardSettings()


class _Best:
    """The iterate of least residual, per sample, and whether all samples are there.

    Within `without_waiting` a sample leaves the iteration once it is within the tolerance: its
    iterate stays what it would be alone, however long the others take.
    """

    def __init__(self, x0: Tensor, n_dims: int, tolerance: float) -> None:
        self.n_dims, self.tolerance = n_dims, tolerance
        self.x = x0
        self.residual = torch.full_like(norm(x0, n_dims), torch.inf)

    def update(self, x: Tensor, fx: Tensor) -> Tensor:
        residual = relative_change(x, fx, self.n_dims)
        better = residual < self.residual  # False for NaN: a diverged iterate is never kept
        if not waits():
            better &= self.residual > self.tolerance
        self.x = torch.where(better, fx, self.x)
        self.residual = torch.where(better, residual, self.residual)
        return residual


def _anderson_weights(residuals: Tensor, regularisation: float) -> Tensor:
    """Solve the bordered system for a ``(batch, n)``; residuals real ``(batch, n, values)``.

    In float64 and relative to the mean diagonal: close to the solution the Gram matrix is tiny
    and an absolute regulariser would turn the method into plain averaging.
    """
    g = residuals.to(torch.float64)
    gram = g @ g.mT
    n = gram.shape[-1]
    diagonal = gram.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None].clamp_min(1e-300)
    gram = gram / diagonal + regularisation * torch.eye(n, dtype=gram.dtype, device=gram.device)
    ones = torch.ones_like(gram[..., :1])
    # The check of `solve` waits for the GPU; a singular system gives weights that are not finite.
    solve = torch.linalg.solve if waits() else lambda a, b: torch.linalg.solve_ex(a, b).result
    weights = solve(gram, ones).squeeze(-1)
    return (weights / weights.sum(-1, keepdim=True)).to(residuals.dtype)


def _as_rows(x: Tensor, n_dims: int) -> Tensor:
    """``(*batch, ...)`` complex or real -> real ``(batch, values)``."""
    real = torch.view_as_real(x.contiguous()) if x.is_complex() else x
    batch = x.shape[: x.ndim - n_dims]
    return real.reshape(max(batch.numel(), 1), -1)


def _from_rows(rows: Tensor, like: Tensor) -> Tensor:
    if like.is_complex():
        return torch.view_as_complex(rows.reshape(*like.shape, 2).contiguous())
    return rows.reshape(like.shape)


def _mix(xs: list[Tensor], fs: list[Tensor], settings: FixedPointSettings, n_dims: int) -> Tensor:
    x = torch.stack([_as_rows(v, n_dims) for v in xs], 1)
    f = torch.stack([_as_rows(v, n_dims) for v in fs], 1)
    weights = _anderson_weights(f - x, settings.regularisation)[..., None]
    return _from_rows((weights * f).sum(1), fs[-1])


def solve_fixed_point(
    step: Map, x0: Tensor, settings: FixedPointSettings, *, n_dims: int = 2
) -> tuple[Tensor, SolverReport]:
    """Return x* ~ T(x*) from the start `x0`, every sample judged by its own residual.

    Stops when the largest residual of the batch is below the tolerance; within `without_waiting`
    after `n_iter` steps. A sample keeps its iterate of least residual in either case. An Anderson
    step that is not finite is replaced by the best iterate so far.
    """
    best = _Best(x0, n_dims, settings.tolerance)
    xs: list[Tensor] = []
    fs: list[Tensor] = []
    x = x0
    iteration, stopped_by = 0, "iterations"
    while iteration < settings.n_iter:
        checkpoint()
        fx = step(x)
        iteration += 1
        best.update(x, fx)
        if all_true(best.residual <= settings.tolerance):
            stopped_by = "tolerance"
            break
        if settings.solver == "picard":
            x = fx
            continue
        xs, fs = [*xs, x][-settings.memory :], [*fs, fx][-settings.memory :]
        x = _mix(xs, fs, settings, n_dims)
        if not waits():
            x = _finite_or(x, best.x, n_dims)
        elif not is_finite(x):
            x, xs, fs = best.x, [], []
    return best.x, SolverReport(iteration, best.residual, stopped_by)


def _finite_or(x: Tensor, other: Tensor, n_dims: int) -> Tensor:
    """Return `x`, but `other` for samples that are not finite; the GPU is not waited for."""
    dims = tuple(range(-n_dims, 0))
    fine = torch.isfinite(x.abs()).all(dims[0], keepdim=True)
    for dim in dims[1:]:
        fine = fine.all(dim, keepdim=True)
    return torch.where(fine, x, other)


def differentiable(
    step: Map, fixed_point: Tensor, settings: BackwardSettings = JACOBIAN_FREE, *, n_dims: int = 2
) -> Tensor:
    """Apply T once at the detached fixed point, with the gradient that `settings` define."""
    x = fixed_point.detach()
    if settings.method == "jfb":
        return step(x)
    x.requires_grad_()
    fx = step(x)
    # The hook sits on a copy: products with J^T go through `fx` and must not meet the hook again.
    out = fx.clone()
    if not fx.requires_grad:
        return out

    def times_jacobian(g: Tensor) -> Tensor:
        return torch.autograd.grad(fx, x, g, retain_graph=True)[0]

    def hook(v: Tensor) -> Tensor:
        if settings.method == "implicit":
            return solve_fixed_point(
                lambda g: times_jacobian(g) + v, v, settings.solver, n_dims=n_dims
            )[0]
        g = v
        for _ in range(settings.n_terms):
            g = times_jacobian(g) + v
        return g

    out.register_hook(hook)
    return out
