"""From raw k-space or images to weights; imports `jrsr_core`, never `gadget`.

`fit` is the public interface of the package; it is imported on first use.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import FinishedRun, fit

__all__ = ["FinishedRun", "fit"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import api

    return getattr(api, name)
