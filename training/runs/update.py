"""One step of one optimizer, safely."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from jrsr_core.models.interfaces import Clock

from .networks.build import Learner
from .parallel import average_gradients, average_statistics

if TYPE_CHECKING:
    from lightning_fabric import Fabric

CLIP_NORM = 1.0
"""Largest norm of a gradient; longer ones are shortened to it."""


def update(fabric: "Fabric", loss: Tensor, learner: Learner, clock: Clock) -> Tensor:
    """Backward, average over processes, clip, step; return whether the gradient was finite.

    A gradient that is not finite leaves weights and moments as they were. On a GPU Adam decides
    that there, because asking for the answer would wait for all work in flight.
    """
    clock.lap("losses")
    loss.backward()
    parameters = list(learner.network.parameters())
    average_gradients(fabric, parameters)
    norm = nn.utils.clip_grad_norm_(parameters, CLIP_NORM)
    clock.lap("backward")
    finite = torch.isfinite(norm)
    learner.step(finite)
    average_statistics(fabric, learner.network)
    clock.lap("optimizer")
    return finite
