"""Collects the planes of a scan by series until the last image has arrived.

A series shares one scale, one window and one set of identifiers, which are known only then. The
pixels wait in a scratch file. An image that cannot be written is left out with a warning.
"""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import ismrmrd
import numpy as np

from gadget.console import print_warning
from gadget.output.base import Result, Writer
from gadget.output.options import DEFAULTS, OutputOptions
from jrsr_core.common.atomic import full_disk, scratch_file
from jrsr_core.mrd.files.scan import DATASET
from jrsr_core.mrd.lines.time_stamps import first_time_stamp

from .attributes import number_of
from .completeness import in_incomplete_volumes
from .planes import PARTS, Plane, planes_of
from .unique_numbers import unique_numbers

PART_ORDER = ("MAGNITUDE", *PARTS.values())

EMPTY_WIDTH = 1e-6
"""Window width of a series without any signal: DICOM requires a width above zero."""


@dataclass(eq=False)
class Series:
    """Planes of one series, without their pixels.

    Attributes
    ----------
    number
        Series number.
    planes
        The planes without pixels: in the order in which they arrived, by their numbers once the
        series is finished.
    offsets
        Where the pixels of each plane begin in the scratch file, bytes.
    hashes
        Hash of the geometry and the pixels of each plane.
    top, bottom
        Largest and smallest pixel value, at least and at most 0.
    is_incomplete
        Whether the planes are those of volumes that lack slices.
    """

    number: int
    planes: list[Plane] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)
    top: float = 0.0
    bottom: float = 0.0
    is_incomplete: bool = False

    @property
    def digest(self) -> str:
        """Hash of the numbers and the content of all planes, hexadecimal."""
        numbered = zip(self.planes, self.hashes, strict=True)
        parts = [f"{plane.number} {content.hex()}" for plane, content in numbered]
        return hashlib.sha256("\n".join([*parts, str(self.is_incomplete)]).encode()).hexdigest()

    @property
    def window(self) -> tuple[float, float]:
        """Centre and width of the widest window in the image attributes, else of all values."""
        named = [w for plane in self.planes if (w := _window(plane.meta)) is not None]
        width = self.top - self.bottom or EMPTY_WIDTH
        return max(named, key=lambda w: w[1], default=(self.bottom + width / 2, width))


class PlaneStore:
    """Collects planes by series; the file system of `folder` holds their pixels.

    `time_stamps` are those of the first lines of the images; others of the scan may be added.

    Each group of a file has its own series, and so has each part of a complex image, because the
    values of different parts share no scale. A phase is left out if no image of its series has one.
    """

    def __init__(self, folder: Path) -> None:
        self._file = scratch_file(folder)
        self._series: dict[tuple[str, int, str], Series] = {}
        self.time_stamps: set[int] = set()

    def add(self, plane: Plane) -> None:
        """Add one plane to its series."""
        key = (plane.group, plane.series, plane.part)
        series = self._series.setdefault(key, Series(plane.series))
        pixels = np.ascontiguousarray(plane.pixels, np.float32)
        series.planes.append(plane.without_pixels())
        series.offsets.append(self._file.seek(0, 2))
        self._file.write(pixels.tobytes())
        series.top = max(series.top, float(pixels.max(initial=0.0)))
        series.bottom = min(series.bottom, float(pixels.min(initial=0.0)))
        content = hashlib.sha256(f"{plane.first} {plane.row} {plane.column}".encode())
        content.update(pixels.tobytes())
        series.hashes.append(content.digest())
        self.time_stamps.add(plane.began)

    @property
    def earliest(self) -> int:
        """First of the acquisition time stamps, 0 if there is none."""
        return first_time_stamp(np.array(sorted(self.time_stamps)))

    def finished(self) -> list[Series]:
        """Return all series; series numbers, and plane numbers in a series, are unique.

        Volumes that lack slices follow as series of their own, in the scale of their complete ones.
        The order in which images arrive has no part in the result unless they have equal numbers.
        """
        ordered = sorted(self._kept.items(), key=lambda item: _rank(*item[0]))
        made = [part for _, series in ordered for part in _by_completeness(series)]
        made.sort(key=lambda series: series.is_incomplete)
        numbers = unique_numbers([series.number for series in made], 0)
        return [_numbered(series, n) for series, n in zip(made, numbers, strict=True)]

    @property
    def has_phase(self) -> bool:
        """Whether one of the series is a phase."""
        return any(part == "PHASE" for _, _, part in self._kept)

    @property
    def _kept(self) -> dict[tuple[str, int, str], Series]:
        """The series without phases of real values alone."""
        return {
            key: series
            for key, series in self._series.items()
            if not all(plane.is_real for plane in series.planes)
        }

    @property
    def digest(self) -> str:
        """Hash of the content of all planes in any order, hexadecimal."""
        hashes = (content for series in self._kept.values() for content in series.hashes)
        return hashlib.sha256(b"".join(sorted(hashes))).hexdigest()

    def planes(self, series: Series) -> Iterator[Plane]:
        """Yield the planes of a series with their pixels, in the order of the series."""
        for plane, offset in zip(series.planes, series.offsets, strict=True):
            shape = plane.pixels.shape
            self._file.seek(offset)
            data = self._file.read(4 * shape[0] * shape[1])
            yield replace(plane, pixels=np.frombuffer(data, np.float32).reshape(shape))

    def close(self) -> None:
        """Delete the pixels."""
        with suppress(OSError):  # What a full disk did not take was reported when it was added.
            self._file.close()


class PlaneWriter(Writer):
    """Writer of MRD images as planes in space.

    Parameters
    ----------
    path
        File or folder to be written.
    header_xml
        ISMRMRD header of the scan.
    options
        How it is written; only DICOM images join a study.
    """

    def __init__(self, path: Path, header_xml: str, options: OutputOptions = DEFAULTS) -> None:
        super().__init__(path)
        self.header_xml = header_xml
        self.overwrite, self.with_phase = options.overwrite, options.with_phase
        self.n_images = 0
        self.left_out: list[ValueError] = []
        self.store = PlaneStore(path.parent)
        self._on_exit.callback(self.store.close)

    def add(self, result: Result) -> bool:
        """Add one image or map as `write` does."""
        return self.write(result.mrd)

    def write(self, image: ismrmrd.Image, group: str = "") -> bool:
        """Add the planes of an image that was read from this group of a file.

        Returns
        -------
        bool
            False if the image is left out: it has no place in space, several channels, or pixels
            that are not finite.
        """
        self.n_images += 1
        try:
            planes = list(planes_of(image, group, with_phase=self.with_phase))
        except ValueError as error:
            self.left_out.append(error)
            return False
        with full_disk(self.path):
            for plane in planes:
                self.store.add(plane)
        return True

    @property
    def has_phase(self) -> bool:
        """Whether one of the series that are written is a phase."""
        return self.store.has_phase

    @property
    def has_images(self) -> bool:
        """Whether some images are not left out."""
        return self.n_images > len(self.left_out)

    def check_left_out(self) -> None:
        """Warn of images that were left out.

        Raises
        ------
        ValueError
            All images were left out.
        """
        if not self.left_out:
            return
        if not self.has_images:
            raise self.left_out[0]
        print_warning(
            f"{self.path.name}: warning: {len(self.left_out)} of {self.n_images} images left out, "
            f"first reason: {self.left_out[0]}"
        )


def _by_completeness(series: Series) -> list[Series]:
    """Return the series, or its complete and its incomplete volumes as two."""
    lacking = set(in_incomplete_volumes(series.planes))
    if not lacking:
        return [series]
    parts = []
    for is_incomplete in (False, True):
        chosen = [i for i in range(len(series.planes)) if (i in lacking) == is_incomplete]
        parts.append(replace(_chosen(series, chosen), is_incomplete=is_incomplete))
    return parts


def _rank(group: str, number: int, part: str) -> tuple[int, int, bool, str]:
    """Return the rank of a series: by its number, then magnitude before phase, then its group.

    The group `DATASET` is first, as in `ImageFile`: a client names further ones by date.
    """
    return number, PART_ORDER.index(part), group.strip("/") != DATASET, group


def _numbered(series: Series, number: int) -> Series:
    """Return the series with this number, and with unique plane numbers in their order."""
    numbers = unique_numbers([plane.number for plane in series.planes], 1)
    chosen = _chosen(series, np.argsort(numbers).tolist())
    planes = [replace(p, number=n) for p, n in zip(chosen.planes, sorted(numbers), strict=True)]
    return replace(chosen, number=number, planes=planes)


def _chosen(series: Series, indices: list[int]) -> Series:
    """Return the series with these of its planes, in this order."""
    return replace(
        series,
        planes=[series.planes[i] for i in indices],
        offsets=[series.offsets[i] for i in indices],
        hashes=[series.hashes[i] for i in indices],
    )


def _window(meta: dict[str, object]) -> tuple[float, float] | None:
    """Return centre and width of an image, None unless both are usable numbers."""
    center, width = (number_of(meta.get(name)) for name in ("WindowCenter", "WindowWidth"))
    return None if center is None or width is None else (center, width)
