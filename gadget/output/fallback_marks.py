"""Tells whether finished outputs hold fallback images, by their headers; no pixels are read.

A picture has no header: it is taken as one without fallback images.
"""

import re
from collections.abc import Callable
from pathlib import Path

import ismrmrd
from pydicom import dcmread

from jrsr_core.mrd.files.images import ImageFile

from .further import FurtherFiles
from .names import extension_of
from .nifti_marks import has_fallback_images as is_marked_nifti

FURTHER = r"_series\d+\w*"
"""What stands between the name of an output and the ending of files beside it."""

SERIES = re.compile(r"JRSR, \d+ of \d+ FALLBACK images")
PAGE = re.compile(r">\d+ of \d+ are fallback images<")
"""Marks of a DICOM series and of a report."""


def has_fallback_images(name: str, path: Path) -> bool:
    """Return whether the finished target of a format holds fallback images.

    Raises
    ------
    OSError, ValueError
        A file cannot be read.
    """
    is_marked = MARKED.get(name, lambda file: False)
    if path.is_dir():
        return any(map(is_marked, path.iterdir()))
    ending = path.name[-len(extension_of(path)) :]
    further = FurtherFiles(path, ending, FURTHER, lambda file: False).existing()
    return any(map(is_marked, [path, *further]))


def _mrd(path: Path) -> bool:
    with ImageFile(path) as images:
        texts = [text for series in images.series for text in series.attributes]
    # Only of a text that holds the name is more than the name to be read.
    own = (text for text in texts if "JRSR_fallback" in text)
    return any(ismrmrd.Meta.deserialize(text).get("JRSR_fallback") for text in own)


def _dicom(path: Path) -> bool:
    ds = dcmread(path, stop_before_pixels=True, specific_tags=["SeriesDescription"])
    return bool(SERIES.search(ds.get("SeriesDescription", "")))


def _report(path: Path) -> bool:
    return bool(PAGE.search(path.read_text(encoding="utf-8")))


MARKED: dict[str, Callable[[Path], bool]] = {
    "mrd": _mrd,
    "dicom": _dicom,
    "enhanced": _dicom,
    "nifti": is_marked_nifti,
    "report": _report,
}
"""Format -> whether one of its files is marked."""
