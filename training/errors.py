"""Failures that have an exit code of their own."""

from collections.abc import Iterator
from contextlib import contextmanager

from jrsr_core.common.spelling import UnknownName


class UsageError(ValueError):
    """A wrong option, recipe or path, named by the message."""


@contextmanager
def as_usage() -> Iterator[None]:
    """Turn the `ValueError` of a name into a `UsageError`.

    Its other subclasses, such as the error of a broken weights card, stay what they are.
    """
    try:
        yield
    except ValueError as error:
        if type(error) not in (ValueError, UnknownName):
            raise
        raise UsageError(str(error)) from error


class TrainingDiverged(ValueError):
    """Gradients stayed without a finite value; the last good state is in the checkpoint."""
