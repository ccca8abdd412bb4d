"""Errors of a device rather than of a slice, and whether the device is still there after one.

After a device-side assert, a launch failure, or a GPU that fell off the bus, every later call of
the process fails as well. Other errors (a launch that was refused) leave the device as it was.
"""

import torch

WORDS = ("CUDA error", "HIP error", "cuDNN error", "CUDNN_STATUS", "CUBLAS_STATUS", "cuFFT error")


def is_device_error(error: BaseException) -> bool:
    """Whether the device is to blame; libraries report it as a `RuntimeError` of these words."""
    if isinstance(error, torch.AcceleratorError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in WORDS)


def answers(device: torch.device) -> bool:
    """Whether the device still computes."""
    try:
        return float(torch.ones(2, device=device).sum()) == 2.0
    except Exception:
        return False


def first_line(error: BaseException) -> str:
    """Return what went wrong without CUDA's advice on debugging."""
    return (str(error).splitlines() or [type(error).__name__])[0].strip()
