"""Planes of a scan, kept until its last image is in: a series has one scale and one set of UIDs.

Pixels wait in an unnamed temporary file, so that a long scan does not fill the memory.
"""

import hashlib
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from .planes import Plane

EMPTY = np.zeros((0, 0), np.float32)


@dataclass(eq=False)
class Series:
    """Planes of one series without their pixels, the range of these and 0, a hash of all of it."""

    number: int
    planes: list[tuple[Plane, int, tuple[int, int]]] = field(default_factory=list)
    top: float = 0.0
    bottom: float = 0.0
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    @property
    def heads(self) -> list[Plane]:
        """The planes, their pixels left out."""
        return [plane for plane, _, _ in self.planes]


class PlaneStore:
    """Collects planes by series; `folder` has room for them.

    Groups of a file have series of their own, and so have the parts of complex images, whose
    values share no scale.
    """

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)
        self._series: dict[tuple[str, int, str], Series] = {}

    def add(self, plane: Plane) -> None:
        """Keep one plane."""
        key = (plane.group, plane.series, plane.part)
        series = self._series.setdefault(key, Series(plane.series))
        pixels = np.ascontiguousarray(plane.pixels, np.float32)
        offset = self._file.seek(0, 2)
        self._file.write(pixels.tobytes())
        series.planes.append((replace(plane, pixels=EMPTY), offset, pixels.shape))
        series.top = max(series.top, float(pixels.max(initial=0.0)))
        series.bottom = min(series.bottom, float(pixels.min(initial=0.0)))
        series.digest.update(f"{plane.number} {plane.first} {plane.row} {plane.column}".encode())
        series.digest.update(pixels.tobytes())

    def finished(self) -> list[Series]:
        """Return all series, no two with one number, nor two planes of a series."""
        made = list(self._series.values())
        for series, number in zip(made, own_numbers([s.number for s in made], 0), strict=True):
            series.number = number
            numbers = own_numbers([plane.number for plane, *_ in series.planes], 1)
            series.planes = [
                (replace(plane, number=n), *place)
                for n, (plane, *place) in zip(numbers, series.planes, strict=True)
            ]
        return made

    @property
    def digest(self) -> str:
        """A hash of all planes."""
        parts = (series.digest.digest() for series in self._series.values())
        return hashlib.sha256(b"".join(parts)).hexdigest()

    def planes(self, series: Series) -> Iterator[Plane]:
        """Yield the planes of a series in the order they came, with pixels."""
        for plane, offset, shape in series.planes:
            self._file.seek(offset)
            data = self._file.read(4 * shape[0] * shape[1])
            yield replace(plane, pixels=np.frombuffer(data, np.float32).reshape(shape))

    def close(self) -> None:
        """Forget everything."""
        self._file.close()


def own_numbers(wanted: Sequence[int], lowest: int) -> list[int]:
    """Return a number for each: the wanted one unless it is too low or taken, else a further one.

    Others leave image numbers at 0 or give one to all slices, and 16 bits come round.
    """
    further = itertools.count(max([lowest - 1, *wanted]) + 1)
    taken: set[int] = set()
    numbers = []
    for number in wanted:
        own = number if number >= lowest and number not in taken else next(further)
        taken.add(own)
        numbers.append(own)
    return numbers
