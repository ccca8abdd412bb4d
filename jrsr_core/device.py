"""Which device computes."""

import torch


def pick_device(name: str) -> torch.device:
    """Return the device of "auto", "cpu", "cuda" or "cuda:n"; ValueError if it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"unknown device {name!r}, known: auto, cpu, cuda, cuda:n") from error
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"unknown device {name!r}, known: auto, cpu, cuda, cuda:n")
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            raise ValueError(f"device {name!r} asked for, this machine has {count} CUDA devices")
    return device
