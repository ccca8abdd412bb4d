"""The matrices of high and of low resolution, and the ratio between them; imports no torch."""

SR_FACTOR = 2
"""Ratio of the HR to the LR matrix along each axis."""


def hr_length(n: int) -> int:
    """Return the largest number of HR pixels of at most `n`: a multiple of that of LR pixels."""
    return n // SR_FACTOR * SR_FACTOR


def hr_shape(lr_shape: tuple[int, int]) -> tuple[int, int]:
    """Return the HR matrix ``(y, x)`` of an LR matrix."""
    return (SR_FACTOR * lr_shape[0], SR_FACTOR * lr_shape[1])


def lr_shape(hr_shape: tuple[int, int]) -> tuple[int, int]:
    """Return the LR matrix ``(y, x)`` of an HR matrix."""
    return (hr_shape[0] // SR_FACTOR, hr_shape[1] // SR_FACTOR)
