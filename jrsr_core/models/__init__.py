"""The systems of the paper behind two interfaces: `ReconModel` and `UpsampleModel`."""

from .registry import MODEL_NAMES, PRESETS, build_model

__all__ = ["MODEL_NAMES", "PRESETS", "build_model"]
