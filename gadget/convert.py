"""`jrsr convert`: ISMRMRD images, ours or those of Gadgetron and FIRE, into DICOM and NIfTI."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import h5py
import ismrmrd

from jrsr_core.mrd.errors import BadScan
from jrsr_core.mrd.file import DATASET

from .console import say
from .errors import Exit, ScanError, UsageError
from .export.dicom_writer import DicomWriter, EnhancedWriter
from .export.nifti_writer import NiftiWriter
from .outputs import FORMATS, check_paths, parse_formats
from .settings import nearest

CONVERTIBLE = ("dicom", "enhanced", "nifti")


@dataclass(frozen=True)
class ConvertRequest:
    """What to convert and where to put it."""

    source: Path
    output: Path | None
    formats: list[str]
    overwrite: bool = False

    def paths(self) -> dict[str, Path]:
        """Target of every format."""
        folder = self.output or self.source.parent
        return {name: folder / f"{self.source.stem}{FORMATS[name][0]}" for name in self.formats}


def parse_convertible(text: str) -> list[str]:
    """Return the formats of a comma-separated list; `UsageError` for those of a scan."""
    formats = parse_formats(text)
    for name in formats:
        if name not in CONVERTIBLE:
            raise UsageError(f"images cannot become {name!r}{nearest(name, CONVERTIBLE)}")
    return formats


def convert(request: ConvertRequest) -> Exit:
    """Write all series of a file in every format.

    Raises
    ------
    ScanError
        No ISMRMRD images in the file, or images without a place in space.
    """
    paths = request.paths()
    if request.output is not None and not request.output.is_dir():
        raise UsageError(f"{request.output} is not a folder")
    check_paths(list(paths.values()), overwrite=request.overwrite)
    n_images = 0
    try:
        xml = _header(request.source)
        with ExitStack() as stack:
            writers = [
                stack.enter_context(_writer(name, path, xml, request.overwrite))
                for name, path in paths.items()
            ]
            for image in _images(request.source):
                n_images += 1
                for writer in writers:
                    writer.write_image(image)
            if not n_images:
                raise BadScan("no ISMRMRD images in the file")
    except (OSError, ValueError) as error:
        raise ScanError(request.source.name, error) from error
    files = ", ".join(map(str, paths.values()))
    say(f"{request.source.name}: {n_images} image{'s' if n_images > 1 else ''} -> {files}")
    return Exit.DONE


def _writer(
    name: str, path: Path, xml: str, overwrite: bool
) -> DicomWriter | EnhancedWriter | NiftiWriter:
    if name == "nifti":
        return NiftiWriter(path, overwrite=overwrite)
    kind = DicomWriter if name == "dicom" else EnhancedWriter
    return kind(path, xml, overwrite=overwrite)


def _header(path: Path) -> str:
    """Return the XML header; an empty one where the client has not kept it."""
    if not h5py.is_hdf5(path):
        raise BadScan("not an HDF5 file" if path.exists() else "does not exist")
    with h5py.File(path, "r") as file:
        for group in _groups(file):
            if "xml" in group:
                text = group["xml"][0]
                return text.decode("utf-8") if isinstance(text, bytes) else str(text)
    return "<ismrmrdHeader/>"


def _groups(file: h5py.File) -> list[h5py.Group]:
    """Return the groups, ours first; Gadgetron's client names its own by the date."""
    groups = [g for g in file.values() if isinstance(g, h5py.Group)]
    return sorted(groups, key=lambda g: g.name != f"/{DATASET}")


def _images(path: Path) -> Iterator[ismrmrd.Image]:
    with h5py.File(path, "r") as file:
        names = [
            (group.name.strip("/"), name)
            for group in _groups(file)
            for name, entry in group.items()
            if isinstance(entry, h5py.Group) and {"header", "data"} <= set(entry)
        ]
    for group, name in names:
        with ismrmrd.Dataset(str(path), group, create_if_needed=False) as dataset:
            for i in range(dataset.number_of_images(name)):
                yield dataset.read_image(name, i)
