"""Planes of a scan, kept until its last image is in: a series has one scale and one set of UIDs.

Pixels wait in an unnamed temporary file, so that a long scan does not fill the memory.
"""

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from .planes import Plane

EMPTY = np.zeros((0, 0), np.float32)


@dataclass(eq=False)
class Series:
    """Planes of one series without their pixels, the largest pixel, and a hash of everything."""

    number: int
    planes: list[tuple[Plane, int, tuple[int, int]]] = field(default_factory=list)
    top: float = 0.0
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    @property
    def heads(self) -> list[Plane]:
        """The planes, their pixels left out."""
        return [plane for plane, _, _ in self.planes]


class PlaneStore:
    """Collects planes by series; `folder` has room for them."""

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)
        self.series: dict[int, Series] = {}

    def add(self, plane: Plane) -> None:
        """Keep one plane."""
        series = self.series.setdefault(plane.series, Series(plane.series))
        pixels = np.ascontiguousarray(plane.pixels, np.float32)
        offset = self._file.seek(0, 2)
        self._file.write(pixels.tobytes())
        series.planes.append((replace(plane, pixels=EMPTY), offset, pixels.shape))
        series.top = max(series.top, float(pixels.max(initial=0.0)))
        series.digest.update(f"{plane.number} {plane.first} {plane.row} {plane.column}".encode())
        series.digest.update(pixels.tobytes())

    def planes(self, series: Series) -> Iterator[Plane]:
        """Yield the planes of a series in the order they came, with pixels."""
        for plane, offset, shape in series.planes:
            self._file.seek(offset)
            data = self._file.read(4 * shape[0] * shape[1])
            yield replace(plane, pixels=np.frombuffer(data, np.float32).reshape(shape))

    def close(self) -> None:
        """Forget everything."""
        self._file.close()
