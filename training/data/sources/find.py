"""From paths to sources: the content of a file decides which reader it gets."""

from pathlib import Path

from jrsr_core.mrd.files.foreign import hdf5_words, without_reason
from jrsr_core.mrd.files.suffixes import HDF5_SUFFIXES
from training.errors import UsageError

from .base import Source, SourceError, words_of
from .hdf5 import FastMri, ImageStack, Modl, open_hdf5
from .raw import IsmrmrdScan
from .volumes import DicomFolder, Nifti, is_dicom

NIFTI_SUFFIXES = (".nii", ".nii.gz")
AS_STACK = (
    "images are read from the data set 'slices' (n, readout, phase encode) of an HDF5 file: write "
    "their pixels into one"
)


def _open_hdf5_source(path: Path) -> Source:
    with open_hdf5(path) as file:
        names = set(file)
        raw = any(hasattr(g, "keys") and {"xml", "data"} <= set(g) for g in file.values())
    if "slices" in names:
        return ImageStack(path)
    if "kspace" in names:
        return FastMri(path)
    if {"trnOrg", "tstOrg"} & names:
        return Modl(path)
    if raw:
        return IsmrmrdScan(path)
    if words := without_reason(hdf5_words(path, names)):
        raise UsageError(f"{path}: it is {words}")
    known = "data set 'slices', 'kspace' or 'trnOrg' and no raw data"
    raise UsageError(f"{path}: no {known}, found {sorted(names)}")


def _is_named_as_source(path: Path) -> bool:
    return path.suffix.lower() in HDF5_SUFFIXES or path.name.endswith(NIFTI_SUFFIXES)


def open_source(path: Path) -> Source:
    """Return the reader of a file, or of a folder of DICOM slices.

    Raises
    ------
    UsageError
        An unknown format, or a file of another layout.
    SourceError
        A broken file, or no slices.
    FileNotFoundError
        No such file.
    """
    path = Path(path)
    if path.is_dir():
        source: Source = DicomFolder(path)
    elif path.name.endswith(NIFTI_SUFFIXES):
        source = Nifti(path)
    elif path.suffix.lower() in HDF5_SUFFIXES:
        source = _open_hdf5_source(path)
    elif not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    else:
        words = words_of(path)
        found = f"it is {words}; " if words else ""
        known = "known are HDF5, NIfTI and folders of DICOM slices"
        raise UsageError(f"{path.name}: {found}{AS_STACK if 'picture' in words else known}")
    if not len(source):
        raise SourceError(f"{path.name}: no slices in it")
    return source


def find_sources(paths: list[Path]) -> list[Source]:
    """Return the sources of files and folders; of a folder those of the files directly in it.

    Deeper folders may be other subjects, or stand for other splits: they are to be named.

    Raises
    ------
    UsageError
        A folder without a file of a known format, or a file or folder twice.
    UsageError, SourceError, FileNotFoundError
        As `open_source`.
    """
    sources = [source for path in map(Path, paths) for source in _sources_at(path)]
    places = set[Path]()
    for source in sources:
        if (place := source.path.resolve()) in places:
            raise UsageError(f"{source.path} is listed twice")
        places.add(place)
    return sources


def _sources_at(path: Path) -> list[Source]:
    if not path.is_dir():
        return [open_source(path)]
    # A link to a file that is not there is opened, so that its reader names it.
    inside = sorted(p for p in path.iterdir() if not p.is_dir())
    found = [open_source(p) for p in inside if _is_named_as_source(p)]
    if any(is_dicom(p) for p in inside if p.is_file() and not _is_named_as_source(p)):
        found.append(open_source(path))
    if not found:
        deeper = (p.parent for p in sorted(path.rglob("*")) if _is_named_as_source(p))
        example = next(deeper, None)
        remedy = f"; name those below it, such as {example}" if example else ""
        raise UsageError(f"{path}: no HDF5, NIfTI or DICOM file in this folder{remedy}")
    return found
