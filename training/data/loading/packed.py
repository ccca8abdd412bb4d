"""A batch of scans in one buffer, so that one transfer brings it to the device.

The buffer holds the half-precision tensors of `scans.collate` one after the other; complex64 and
float32 are made on the device.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from training.data.scans import TrainingScan, unpack_scan

ALIGNMENT = 16


@dataclass(frozen=True, eq=False)
class PackedBatch:
    """Names of the scans, the bytes of their tensors, and where each tensor lies.

    `parts` has name, type, shape and first byte of every tensor.
    """

    names: list[str]
    buffer: Tensor
    parts: tuple[tuple[str, torch.dtype, tuple[int, ...], int], ...]

    def pin_memory(self) -> "PackedBatch":
        """Return the batch in pinned memory; a `DataLoader` calls this."""
        return PackedBatch(self.names, self.buffer.pin_memory(), self.parts)

    def to(self, device: torch.device) -> TrainingScan:
        """Return the scans on a device; from pinned memory the transfer is not waited for."""
        buffer = self.buffer.to(device, non_blocking=True)
        tensors = {}
        for name, dtype, shape, start in self.parts:
            n_bytes = dtype.itemsize * torch.Size(shape).numel()
            tensors[name] = buffer[start : start + n_bytes].view(dtype).view(shape)
        return unpack_scan(tensors)


def pack(names: list[str], tensors: dict[str, Tensor], *, pin: bool) -> PackedBatch:
    """Return the half-precision tensors of a batch in one buffer, in pinned memory if wanted."""
    parts, end = [], 0
    for name, value in tensors.items():
        parts.append((name, value.dtype, tuple(value.shape), end))
        end += -(-value.nbytes // ALIGNMENT) * ALIGNMENT
    buffer = torch.empty(end, dtype=torch.uint8, pin_memory=pin)
    for (_, _, _, start), value in zip(parts, tensors.values(), strict=True):
        flat = value.contiguous().view(-1).view(torch.uint8)
        buffer[start : start + value.nbytes] = flat
    return PackedBatch(names, buffer, tuple(parts))
