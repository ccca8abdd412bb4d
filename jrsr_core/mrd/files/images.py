"""Reads the images of an ISMRMRD file, written by JRSR or by Gadgetron's client.

    group/series/header       ImageHeader (n)
    group/series/attributes   text (n)
    group/series/data         (n, channel, z, y, x); complex as pairs (real, imag)

Everything is checked before HDF5 is asked for values, as in `hdf5_checks`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import ismrmrd
import numpy as np
from ismrmrd.hdf5 import get_hdf5type, image_header_dtype

from jrsr_core.mrd.errors import BadScan
from jrsr_core.mrd.xml import XmlError, declared_as_utf8, decode_xml, parse_xml

from .chunks import FileLimits, check_chunks
from .hdf5_checks import check_group, check_header, check_members, check_texts
from .heaps import Heaps
from .image_texts import with_empty_texts
from .scan import DATASET, fitted, lacking, open_file, reading

NO_HEADER = "<ismrmrdHeader/>"


@dataclass(frozen=True)
class _Series:
    name: str
    heads: np.ndarray
    attributes: list[str]

    @property
    def group(self) -> str:
        return self.name.rpartition("/")[0]


class ImageFile:
    """Iterable of `ismrmrd.Image`, series after series.

    `header` is the XML of the scan; an empty header where the client did not keep it.

    Raises
    ------
    BadScan
        Not an HDF5 file, cut off, members that lead out of it, sizes beyond `limits`, broken heaps,
        images whose shape or kind contradicts their header.
    """

    def __init__(self, path: Path, limits: FileLimits | None = None) -> None:
        self.path = path
        limits = limits or FileLimits()
        if not path.exists():
            raise BadScan("does not exist")
        with reading("unreadable"), open_file(path) as file:
            heaps = Heaps(file)
            check_group(file, limits)
            groups = _groups(file)
            for group in groups:
                check_group(group, limits)
            self.header = _header(groups, heaps, limits)
            self._series = [series for group in groups for series in _series(group, heaps, limits)]

    def __iter__(self) -> Iterator[ismrmrd.Image]:
        """Yield the images; `BadScan` where one cannot be read."""
        return (image for _, image in self.with_groups())

    def with_groups(self) -> Iterator[tuple[str, ismrmrd.Image]]:
        """Yield the images with the name of their group; a client adds a group in every run."""
        with open_file(self.path) as file:
            for series in self._series:
                for i, head in enumerate(series.heads):
                    with reading(f"image {i} of {series.name} cannot be read"):
                        data = file[series.name]["data"][i]
                    what = f"image {i} of {series.name}"
                    yield series.group, _image(head, series.attributes[i], data, what)


def _groups(file: h5py.File) -> list[h5py.Group]:
    """Return the groups, `dataset` first; Gadgetron's client names its groups by date."""
    groups = [g for g in file.values() if isinstance(g, h5py.Group)]
    return sorted(groups, key=lambda g: g.name != f"/{DATASET}")


def _header(groups: list[h5py.Group], heaps: Heaps, limits: FileLimits) -> str:
    for group in groups:
        if isinstance(group.get("xml"), h5py.Dataset):
            check_header(group["xml"], heaps, limits)
            return _text(group["xml"][0])
    return NO_HEADER


def _text(value: bytes | str) -> str:
    return decode_xml(value) if isinstance(value, bytes) else declared_as_utf8(value)


def _series(group: h5py.Group, heaps: Heaps, limits: FileLimits) -> Iterator[_Series]:
    """Yield the members that are series of images, with their headers and attributes."""
    for member in group.values():
        if not isinstance(member, h5py.Group) or not {"header", "data"} <= set(member):
            continue
        check_group(member, limits)
        heads = _heads(member["header"], limits)
        _check_data(member["data"], heads, limits)
        attributes = ["<ismrmrdMeta/>"] * len(heads)
        texts = member.get("attributes")
        if isinstance(texts, h5py.Dataset):
            check_texts(texts, f"attributes in {member.name}", heaps, limits)
            attributes = [_text(text) for text in texts[()]]
        if len(attributes) != len(heads):
            raise BadScan(f"{member.name} has {len(attributes)} attributes, {len(heads)} headers")
        yield _Series(member.name, heads, attributes)


def _heads(stored: h5py.Dataset, limits: FileLimits) -> np.ndarray:
    if not isinstance(stored, h5py.Dataset) or stored.ndim != 1:
        raise BadScan(f"{stored.name} holds no list of image headers")
    if missing := sorted(lacking(stored.dtype, image_header_dtype)):
        raise BadScan(f"{stored.name}: image headers lack {', '.join(missing)}")
    check_members(stored.dtype, stored.name)
    if len(stored) > limits.lines:
        raise BadScan(f"{stored.name} has {len(stored)} rows, at most {limits.lines} are accepted")
    check_chunks(stored, limits)
    return fitted(stored[()], image_header_dtype)


def _check_data(data: h5py.Dataset, heads: np.ndarray, limits: FileLimits) -> None:
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
    if data.dtype.itemsize * int(np.prod(data.shape[1:])) > limits.chunk:
        raise BadScan(f"{data.name}: images of {data.shape[1:]}, larger than {limits.chunk} bytes")
    check_chunks(data, limits)


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
