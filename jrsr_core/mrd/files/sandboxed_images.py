"""Reads the images of a file that may be damaged or hostile in a sandboxed subprocess."""

import json
from pathlib import Path

import ismrmrd
import numpy as np
from ismrmrd.hdf5 import image_header_dtype

from jrsr_core.mrd.errors import BadScan

from .images import Images, Series
from .sandbox import MAX_HEADER, Sandbox
from .stored_rows import MAX_ROWS

MAX_ATTRIBUTES = 2**28
"""Bytes of the names and attributes of all images."""


class SandboxedImages(Images):
    """Images that a subprocess reads, used as `ImageFile`.

    Raises
    ------
    BadScan
        As `ImageFile`; the subprocess died, or exceeded its limits.
    """

    def __init__(self, path: Path, sandbox: Sandbox) -> None:
        if not path.is_file():
            raise BadScan("does not exist")
        self._sandbox, self._process = sandbox, sandbox.take()
        try:
            self._process.open("images", path)
            self.header = bytes(self._process.answer(MAX_HEADER)).decode("utf-8")
            described = json.loads(bytes(self._process.answer(MAX_ATTRIBUTES)))
            self.series = [self._series(*series) for series in described]
        except BaseException:
            self.close()
            raise

    def _series(self, name: str, n: int, attributes: list[str]) -> Series:
        if not n == len(attributes) <= MAX_ROWS:
            raise BadScan(f"{name} has {len(attributes)} attributes, {n} headers")
        heads = self._process.answer(n * image_header_dtype.itemsize)
        return Series(name, np.frombuffer(heads, image_header_dtype, n), attributes)

    def pixels(self, series: int, i: int) -> np.ndarray:
        """Return the pixels of one image; `BadScan` where they cannot be read."""
        head = self.series[series].heads[i]
        shape = (int(head["channels"]), *(int(n) for n in head["matrix_size"][::-1]))
        kind = np.dtype(ismrmrd.image.get_dtype_from_data_type(int(head["data_type"])))
        n_bytes = int(np.prod(shape, dtype=object)) * kind.itemsize
        data = self._process.ask([series, i], n_bytes)
        if len(data) != n_bytes:
            raise BadScan(f"pixels of {len(data)} bytes, their header says {shape}")
        return np.frombuffer(data, kind).reshape(shape)

    def close(self) -> None:
        """Close the file; the subprocess goes back to the sandbox."""
        self._sandbox.give_back(self._process)
