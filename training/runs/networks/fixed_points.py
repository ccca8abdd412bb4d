"""Fixed points while training: how they are sought, those kept per scan, their running residual.

A scan is visited many times. With `warm_start` its fixed point is kept and advanced by a few
Anderson steps at every visit instead of being sought from scratch: the equilibrium follows the
weights at a fraction of the cost. So a few hundred scans visited ten times serve better than
thousands visited once, whose points would never be near the equilibrium.
"""

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn

from jrsr_core.models.fixed_point import BackwardSettings, FixedPointSettings
from jrsr_core.models.rec import RecModule
from jrsr_core.physics.resolution import Shape, sinc_interpolate
from jrsr_core.tensors import waits
from training.config.groups import FixedPoint
from training.data.scans import TrainingScan

TOLERANCE = 1e-3
MAX_MAGNITUDE = 10.0  # of scaled images; beyond it an iteration has diverged
MEMORY = 0.95  # of the running residual


def rec_modules(model: nn.Module) -> list[RecModule]:
    """Return the fixed-point modules of a model."""
    return [m for m in model.modules() if isinstance(m, RecModule)]


def set_iterations(model: nn.Module, n_iter: int) -> None:
    """Set how far fixed points are sought while training."""
    for module in rec_modules(model):
        module.training_settings = FixedPointSettings("anderson", n_iter, TOLERANCE)


def set_backward(model: nn.Module, method: str) -> None:
    """Set how fixed points are differentiated."""
    for module in rec_modules(model):
        module.backward_settings = BackwardSettings(method)


class FixedPoints:
    """The last fixed point of every scan, complex64 ``(1, y, x)`` on the grid of the model's.

    Those on a GPU stay there, because a copy would be waited for. Points that diverged are
    forgotten; within `without_waiting` they are kept as not-a-number until their next visit.

    Parameters
    ----------
    limit
        Largest number of points, the latest ones; 0: one of every scan.
    """

    def __init__(self, settings: FixedPoint, limit: int = 0) -> None:
        self.first, self.later = settings.first_iterations, settings.later_iterations
        self.limit = limit
        self.points: OrderedDict[str, Tensor] = OrderedDict()

    def start(self, names: list[str], scan: TrainingScan) -> tuple[Tensor, int]:
        """Return where a batch starts, zero-filled where nothing is kept, and its iterations."""
        known = [self.points.get(name) for name in names]
        n_iter = self.later if all(p is not None for p in known) else self.first
        zero_filled = scan.zero_filled()
        rows = [_usable(zero_filled[i : i + 1], p) for i, p in enumerate(known)]
        # Kept points on the HR grid beside new scans, or beside points of an older version.
        shape: Shape = max((row.shape[-2], row.shape[-1]) for row in rows)
        return torch.cat([_on_grid(row, shape) for row in rows]), n_iter

    def has(self, names: list[str]) -> bool:
        """Return whether the points of a whole batch are kept."""
        return all(name in self.points for name in names)

    def keep(self, names: list[str], points: Tensor) -> None:
        """Keep the fixed points of a batch, except those that diverged."""
        points = points.detach()
        # False for not-a-number as well.
        fine = (points.abs() < MAX_MAGNITUDE).flatten(1).all(1)[:, None, None]
        points = torch.where(fine, points, complex(math.nan, math.nan))
        for name, point in zip(names, points.split(1), strict=True):
            if waits() and not bool(torch.isfinite(point.real).all()):
                self.points.pop(name, None)
                continue
            self.points[name] = point.clone()
            self.points.move_to_end(name)
        while self.limit and len(self.points) > self.limit:
            self.points.popitem(last=False)


def _usable(zero_filled: Tensor, point: Tensor | None) -> Tensor:
    """Return a kept point on the device; the zero-filled image where none is kept, or a bad one."""
    if point is None:
        return zero_filled
    if waits():
        return point.to(zero_filled.device)
    point = point.to(zero_filled.device, non_blocking=True)
    return torch.where(torch.isnan(point.real), _on_grid(zero_filled, _shape(point)), point)


def _shape(image: Tensor) -> Shape:
    return (image.shape[-2], image.shape[-1])


def _on_grid(image: Tensor, shape: Shape) -> Tensor:
    return image if image.shape[-2:] == shape else sinc_interpolate(image, shape)


def running_residual(before: float, now: float) -> float:
    """Return the running mean of the residual; the first value starts it."""
    if not math.isfinite(now):
        return math.inf
    return now if math.isnan(before) else MEMORY * before + (1 - MEMORY) * now
