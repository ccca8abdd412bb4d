"""Half precision for the networks: bfloat16, of a fixed point only in its first steps.

bfloat16 (8 bits of mantissa, float32 sums) moves the PSNR of an SR module by less than 0.02 dB and
runs two to four times faster where the hardware has it. Rounded, the proximal network of a fixed
point does not let the residual fall below 4e-3 (implicit steps), so the last steps are in float32.
Physics is in complex64 in any case, which autocast leaves alone.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from jrsr_core.tensors import relative_change

PRECISIONS = ("auto", "32", "bf16")


def pick_precision(name: str, device: torch.device) -> str:
    """Return "32" or "bf16"; "auto" is bf16 on a GPU that has it, 32 on a CPU.

    Raises
    ------
    ValueError
        Not one of `PRECISIONS`.
    """
    if name not in PRECISIONS:
        raise ValueError(f"precision is {name!r}, known: {', '.join(PRECISIONS)}")
    if name != "auto":
        return name
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "32"


def networks_in(precision: str, device: torch.device) -> torch.autocast:
    """Return the context in which networks compute in a precision of `pick_precision`."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def full_at_the_end(
    step: Callable[[Tensor], Tensor], near: float, n_half: int, device_type: str
) -> Callable[[Tensor], Tensor]:
    """Return T in the precision at hand at first, in float32 once |T(x) - x| <= near |T(x)|.

    Float32 also after `n_half` steps: a residual that does not fall may be held up by rounding.
    """
    n_left = n_half if torch.is_autocast_enabled(device_type) else 0

    def stepped(x: Tensor) -> Tensor:
        nonlocal n_left
        if n_left == 0:
            with torch.autocast(device_type, enabled=False):
                return step(x)
        fx = step(x)
        is_near = bool((relative_change(x, fx, 2) <= near).all())
        n_left = 0 if is_near else n_left - 1
        return fx

    return stepped
