"""Reads the images of an ISMRMRD file, written by JRSR or by Gadgetron's client.

    group/series/header       ImageHeader (n)
    group/series/attributes   text (n)
    group/series/data         (n, channel, z, y, x); complex as pairs (real, imag)

HDF5 crashes on some damaged files, and never returns from others; `sandboxed_images` reads a file
that may be damaged or hostile.
"""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import ismrmrd
import numpy as np
from ismrmrd.hdf5 import get_hdf5type, image_header_dtype

from jrsr_core.common.closing import Closing
from jrsr_core.mrd.errors import BadScan
from jrsr_core.mrd.header.scan_header import NO_HEADER
from jrsr_core.mrd.header.xml import XmlError, declared_as_utf8, decode_xml, parse_xml

from .hdf5 import fitted, lacking, one_text, open_file, reading
from .image_texts import with_empty_texts
from .links import check_group
from .scan import DATASET
from .stored_rows import check_count


@dataclass(frozen=True)
class Series:
    """Images of one group: its name, headers ``(n,)`` and one XML text for each."""

    name: str
    heads: np.ndarray
    attributes: list[str]

    @property
    def group(self) -> str:
        """Name of the group that holds the group of the series."""
        return self.name.rpartition("/")[0]


class Images(Closing):
    """Iterable of `ismrmrd.Image`, series after series.

    `header` is the XML of the scan; an empty header where the client did not keep it.
    """

    header: str
    series: list[Series]

    @abstractmethod
    def pixels(self, series: int, i: int) -> np.ndarray:
        """Return the pixels ``(channel, z, y, x)`` of image `i` of a series."""

    def __iter__(self) -> Iterator[ismrmrd.Image]:
        """Yield the images; `BadScan` where one cannot be read."""
        return (image for _, image in self.with_groups())

    def with_groups(self) -> Iterator[tuple[str, ismrmrd.Image]]:
        """Yield the images with the name of their group; a client adds a group in every run."""
        for number, series in enumerate(self.series):
            for i, head in enumerate(series.heads):
                what = f"image {i} of {series.name}"
                data = self.pixels(number, i)
                yield series.group, _image(head, series.attributes[i], data, what)


class ImageFile(Images):
    """Images that are read in this process.

    Raises
    ------
    BadScan
        Not an HDF5 file, cut off, members that lead out of it, more images than `check_count`
        accepts, images whose shape or kind contradicts their header.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            raise BadScan("does not exist")
        self._file = open_file(path)
        try:
            with reading("unreadable"):
                check_group(self._file)
                groups = _groups(self._file)
                for group in groups:
                    check_group(group)
                self.header = _header(groups)
                self.series = [series for group in groups for series in _series(group)]
        except BaseException:
            self.close()
            raise

    def pixels(self, series: int, i: int) -> np.ndarray:
        """Return the pixels of one image; `BadScan` where they cannot be read."""
        name = self.series[series].name
        with reading(f"image {i} of {name} cannot be read"):
            return self._file[name]["data"][i]

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _groups(file: h5py.File) -> list[h5py.Group]:
    """Return the groups, `dataset` first; Gadgetron's client names its groups by date."""
    groups = [g for g in file.values() if isinstance(g, h5py.Group)]
    return sorted(groups, key=lambda g: g.name != f"/{DATASET}")


def _header(groups: list[h5py.Group]) -> str:
    for group in groups:
        if isinstance(group.get("xml"), h5py.Dataset):
            return _text(one_text(group["xml"]))
    return NO_HEADER


def _text(value: bytes | str) -> str:
    return decode_xml(value) if isinstance(value, bytes) else declared_as_utf8(value)


def _series(group: h5py.Group) -> Iterator[Series]:
    """Yield the members that are series of images, with their headers and attributes."""
    for member in group.values():
        if not isinstance(member, h5py.Group) or not {"header", "data"} <= set(member):
            continue
        check_group(member)
        heads = _heads(member["header"])
        _check_data(member["data"], heads)
        attributes = ["<ismrmrdMeta/>"] * len(heads)
        texts = member.get("attributes")
        if isinstance(texts, h5py.Dataset):
            if h5py.check_string_dtype(texts.dtype) is None:
                raise BadScan(f"'{texts.name}' holds {texts.dtype}, expected text")
            attributes = [_text(text) for text in texts[()]]
        if len(attributes) != len(heads):
            raise BadScan(f"{member.name} has {len(attributes)} attributes, {len(heads)} headers")
        yield Series(member.name, heads, attributes)


def _heads(stored: h5py.Dataset) -> np.ndarray:
    if not isinstance(stored, h5py.Dataset) or stored.ndim != 1:
        raise BadScan(f"{stored.name} holds no list of image headers")
    if missing := sorted(lacking(stored.dtype, image_header_dtype)):
        raise BadScan(f"{stored.name}: image headers lack {', '.join(missing)}")
    check_count(stored)
    return fitted(stored[()], image_header_dtype)


def _check_data(data: h5py.Dataset, heads: np.ndarray) -> None:
    """Raise `BadScan` unless the pixels have the number, shape and kind of the headers."""
    if not isinstance(data, h5py.Dataset) or data.ndim != 5 or len(data) != len(heads):
        raise BadScan(f"{data.name} holds no pixels of {len(heads)} images")
    for i, head in enumerate(heads):
        shape = (int(head["channels"]), *(int(n) for n in head["matrix_size"][::-1]))
        if shape != data.shape[1:]:
            raise BadScan(f"{data.name} is {data.shape[1:]}, the header of image {i} says {shape}")
        kind = int(head["data_type"])
        if not 1 <= kind <= 8 or data.dtype not in (get_hdf5type(kind), _as_complex(kind)):
            raise BadScan(f"{data.name} is {data.dtype}, the header of image {i} says type {kind}")


def _as_complex(kind: int) -> np.dtype:
    """Return the NumPy type of a kind of pixels; newer HDF5 has complex numbers as well."""
    return ismrmrd.image.get_dtype_from_data_type(kind)


def _image(head: np.ndarray, attributes: str, data: np.ndarray, what: str) -> ismrmrd.Image:
    if data.dtype.names:
        data = data.view(np.complex64 if data.dtype.itemsize == 8 else np.complex128)
    try:
        if attributes:
            parse_xml(attributes.encode("utf-8"))
        image = with_empty_texts(ismrmrd.Image(head, attributes))
    except XmlError as error:
        raise BadScan(f"the attributes of {what}: XML that {error}") from None
    except (AssertionError, AttributeError):
        raise BadScan(f"the attributes of {what} are no ISMRMRD meta data") from None
    image.data[:] = data
    return image
