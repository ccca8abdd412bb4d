"""Image stacks that cannot be used."""

import h5py
import numpy as np


def write_damaged_stack(path):
    """Write an image stack whose compressed pixels are lost."""
    with h5py.File(path, "w") as file:
        file.create_dataset("slices", data=np.ones((1, 64, 64)), compression=4)
        chunk = file["slices"].id.get_chunk_info(0)
    damaged = bytearray(path.read_bytes())
    damaged[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    path.write_bytes(damaged)
