"""Evaluation mode for the time of a call, so that a network may be used while it is trained."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode within the context; its parts are as before afterwards.

    Flags are set one by one: a network may hold parts that stay in evaluation mode in training.
    """
    training = [part for part in model.modules() if part.training]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True
