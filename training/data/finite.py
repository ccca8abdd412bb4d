"""Refuses values that no training and no evaluation can use."""

from torch import Tensor

from jrsr_core.tensors import is_finite


def check_finite(data: Tensor, name: str) -> None:
    """Raise `ValueError` for NaN and infinite values: one would reach every value of a loss."""
    if not is_finite(data):
        raise ValueError(f"{name}: values are NaN or infinite: leave it out, or repair it")
