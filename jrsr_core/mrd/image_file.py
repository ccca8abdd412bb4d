"""Images of an ISMRMRD file, ours or those of Gadgetron's client: checked, then read one by one."""

from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import ParseError

import h5py
import ismrmrd

from .errors import BadScan
from .file import DATASET
from .heaps import Heaps
from .stored import FileLimits, check_group, check_header, check_texts

NO_HEADER = "<ismrmrdHeader/>"


class ImageFile:
    """Iterable of `ismrmrd.Image`, series after series; `header` is the XML of the scan.

    A client need not keep the header; `header` is an empty one then.

    Raises
    ------
    BadScan
        Not an HDF5 file, members that lead out of it, sizes beyond `limits`, broken heaps.
    OSError
        HDF5 cannot read it.
    """

    def __init__(self, path: Path, limits: FileLimits | None = None) -> None:
        self.path = path
        limits = limits or FileLimits()
        if not h5py.is_hdf5(path):
            raise BadScan("not an HDF5 file" if path.exists() else "does not exist")
        with h5py.File(path, "r") as file:
            heaps = Heaps(file)
            check_group(file, limits)
            groups = _groups(file)
            for group in groups:
                check_group(group, limits)
            self.header = _header(groups, heaps, limits)
            self._series = [series for group in groups for series in _series(group, heaps, limits)]

    def __iter__(self) -> Iterator[ismrmrd.Image]:
        """Yield the images; `BadScan` where the attributes of one are no XML."""
        for group, name in self._series:
            with ismrmrd.Dataset(str(self.path), group, create_if_needed=False) as dataset:
                for i in range(dataset.number_of_images(name)):
                    try:
                        yield dataset.read_image(name, i)
                    except ParseError as error:
                        text = f"image {i} of {name}: its attributes are no XML ({error})"
                        raise BadScan(text) from None


def _groups(file: h5py.File) -> list[h5py.Group]:
    """Return the groups, ours first; Gadgetron's client names its own by the date."""
    groups = [g for g in file.values() if isinstance(g, h5py.Group)]
    return sorted(groups, key=lambda g: g.name != f"/{DATASET}")


def _header(groups: list[h5py.Group], heaps: Heaps, limits: FileLimits) -> str:
    for group in groups:
        if isinstance(group.get("xml"), h5py.Dataset):
            check_header(group["xml"], heaps, limits)
            text = group["xml"][0]
            return text.decode("utf-8") if isinstance(text, bytes) else str(text)
    return NO_HEADER


def _series(group: h5py.Group, heaps: Heaps, limits: FileLimits) -> Iterator[tuple[str, str]]:
    """Yield the names of group and series; the meta attributes of every image are checked."""
    for name, member in group.items():
        if not isinstance(member, h5py.Group) or not {"header", "data"} <= set(member):
            continue
        check_group(member, limits)
        if isinstance(member.get("attributes"), h5py.Dataset):
            check_texts(member["attributes"], f"attributes in {member.name}", heaps, limits)
        yield group.name.strip("/"), name
