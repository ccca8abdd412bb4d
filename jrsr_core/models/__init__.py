"""The systems of the paper behind two interfaces: `ReconModel` and `UpsampleModel`."""

from typing import TYPE_CHECKING

from jrsr_core.lazy import lazy_names

from .names import MODEL_NAMES, PRESETS

if TYPE_CHECKING:
    from .registry import build_model
else:
    __getattr__, __dir__ = lazy_names(
        __name__, {"MODEL_NAMES": "names", "PRESETS": "names", "build_model": "registry"}
    )

__all__ = ["MODEL_NAMES", "PRESETS", "build_model"]
