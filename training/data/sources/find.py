"""From paths to sources: the content of a file decides which reader it gets."""

from pathlib import Path

from jrsr_core.mrd.files.foreign import hdf5_words
from training.errors import UsageError

from .base import Source, SourceError, files_below, without_reason, words_of
from .hdf5 import FastMri, ImageStack, Modl, open_hdf5
from .raw import IsmrmrdScan
from .volumes import DicomFolder, Nifti, is_dicom

HDF5_SUFFIXES = (".h5", ".hdf5", ".mrd", ".ismrmrd")
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
        raise SourceError(f"{path.name}: it is {words}")
    found = ", ".join(sorted(names)) or "nothing"
    raise SourceError(
        f"{path.name}: none of slices, kspace, trnOrg, raw data in it; it holds {found}"
    )


def open_source(path: Path) -> Source:
    """Return the reader of a file, or of a folder of DICOM slices.

    Raises
    ------
    SourceError
        An unknown format, or no slices.
    FileNotFoundError
        No such file.
    """
    path = Path(path)
    if path.is_dir():
        source: Source = DicomFolder(path)
    elif path.name.endswith(NIFTI_SUFFIXES):
        source = Nifti(path)
    elif path.suffix in HDF5_SUFFIXES:
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
    """Return the sources of files and folders; a folder is searched with its subfolders.

    Raises
    ------
    SourceError
        A folder without a readable file.
    FileNotFoundError
        No such file or folder.
    """
    sources = []
    for path in map(Path, paths):
        if not path.is_dir():
            sources.append(open_source(path))
            continue
        inside = files_below(path)
        suffixes = HDF5_SUFFIXES + NIFTI_SUFFIXES
        found = [open_source(p) for p in inside if p.name.endswith(suffixes)]
        others = (p for p in inside if p.is_file() and not p.name.endswith(suffixes))
        found += map(open_source, sorted({p.parent for p in others if is_dicom(p)}))
        if not found:
            raise UsageError(f"{path}: no HDF5, NIfTI or DICOM file in this folder or below it")
        sources += found
    return sources
