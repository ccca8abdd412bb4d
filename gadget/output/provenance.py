"""Reads from the headers of finished outputs what made them; no pixels are read.

A picture has no header and is taken as one without fallback images; picture and report name no
maker.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import ismrmrd
from pydicom import dcmread

from gadget.compute.maker import Maker
from jrsr_core.mrd.files.images import ImageFile

from .further import FurtherFiles
from .names import extension_of
from .nifti.marks import made_by as maker_of_nifti

FURTHER = r"_series\d+\w*"
"""What stands between the name of an output and the ending of files beside it."""

SERIES = re.compile(r"JRSR, \d+ of \d+ FALLBACK images")
PAGE = re.compile(r">\d+ of \d+ are fallback images<")
"""Marks of a DICOM series and of a report."""

DERIVATION = re.compile(
    r" by JRSR [^:]+: (?P<model>.+?)(, weights sha256 (?P<weights>\S+))?; acquired matrix "
)
"""Model and weights in the derivation description of DICOM."""


class Provenance(NamedTuple):
    """Whether files hold fallback images, and what made the other images; empty if unknown."""

    has_fallback_images: bool = False
    makers: frozenset[Maker] = frozenset()


def provenance(name: str, path: Path) -> Provenance:
    """Return the provenance of the finished target of a format.

    Raises
    ------
    OSError, ValueError
        A file cannot be read.
    """
    if name not in READERS:
        return Provenance()
    found = [READERS[name](file) for file in _files(path)]
    makers = frozenset[Maker]().union(*(one.makers for one in found))
    return Provenance(any(one.has_fallback_images for one in found), makers)


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return list(path.iterdir())
    ending = path.name[-len(extension_of(path)) :]
    return [path, *FurtherFiles(path, ending, FURTHER, lambda file: False).existing()]


def _mrd(path: Path) -> Provenance:
    with ImageFile(path) as images:
        texts = [text for series in images.series for text in series.attributes]
    # Only of a text that holds the name is more than the name to be read.
    marked = (text for text in texts if "JRSR_fallback" in text)
    has_fallback = any(ismrmrd.Meta.deserialize(text).get("JRSR_fallback") for text in marked)
    own = (text for text in texts if "JRSR_model" in text and "JRSR_fallback" not in text)
    # One run wrote the whole file.
    meta = ismrmrd.Meta.deserialize(next(own, "<ismrmrdMeta/>"))
    if not (model := meta.get("JRSR_model")):
        return Provenance(has_fallback)
    maker = Maker(str(model), str(meta.get("JRSR_weights_sha256") or ""))
    return Provenance(has_fallback, frozenset({maker}))


def _dicom(path: Path) -> Provenance:
    tags = ["SeriesDescription", "DerivationDescription"]
    ds = dcmread(path, stop_before_pixels=True, specific_tags=tags)
    has_fallback = bool(SERIES.search(str(ds.get("SeriesDescription", ""))))
    text = str(ds.get("DerivationDescription", ""))
    found = None if "FALLBACK IMAGE" in text else DERIVATION.search(text)
    if found is None:
        return Provenance(has_fallback)
    maker = Maker(found["model"], found["weights"] or "")
    return Provenance(has_fallback, frozenset({maker}))


def _nifti(path: Path) -> Provenance:
    has_fallback, maker = maker_of_nifti(path)
    return Provenance(has_fallback, frozenset({Maker(*maker)} if maker else ()))


def _report(path: Path) -> Provenance:
    return Provenance(bool(PAGE.search(path.read_text(encoding="utf-8"))))


READERS: dict[str, Callable[[Path], Provenance]] = {
    "mrd": _mrd,
    "dicom": _dicom,
    "enhanced": _dicom,
    "nifti": _nifti,
    "report": _report,
}
"""Format -> reader of one of its files."""
