"""Reads from the headers of finished outputs what made them; no pixels are read.

A picture has no header and is taken as one without fallback images; picture and report name no
maker.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import ismrmrd

from gadget.compute.maker import Maker
from jrsr_core.mrd.files.images import ImageFile
from jrsr_core.mrd.images import is_fallback

from .dicom.marks import made_by as maker_of_dicom
from .dicom.writer import further_files as further_dicom
from .further import FurtherFiles
from .nifti.marks import made_by as maker_of_nifti
from .nifti.writer import further_files as further_nifti
from .report.marks import has_fallback_images


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
    found = [READERS[name](file) for file in _files(name, path)]
    makers = frozenset[Maker]().union(*(one.makers for one in found))
    return Provenance(any(one.has_fallback_images for one in found), makers)


def _files(name: str, path: Path) -> list[Path]:
    if path.is_dir():
        return list(path.iterdir())
    return [path, *(FURTHER[name](path).existing() if name in FURTHER else ())]


def _mrd(path: Path) -> Provenance:
    with ImageFile(path) as images:
        texts = [text for series in images.series for text in series.attributes]
    # Only of a text that holds the name is more than the name to be read.
    marked = (text for text in texts if "JRSR_fallback" in text)
    has_fallback = any(is_fallback(ismrmrd.Meta.deserialize(text)) for text in marked)
    own = (text for text in texts if "JRSR_model" in text and "JRSR_fallback" not in text)
    # One run wrote the whole file.
    meta = ismrmrd.Meta.deserialize(next(own, "<ismrmrdMeta/>"))
    if not (model := meta.get("JRSR_model")):
        return Provenance(has_fallback)
    maker = Maker(str(model), str(meta.get("JRSR_weights_sha256") or ""))
    return Provenance(has_fallback, frozenset({maker}))


def _dicom(path: Path) -> Provenance:
    return _stated(*maker_of_dicom(path))


def _nifti(path: Path) -> Provenance:
    return _stated(*maker_of_nifti(path))


def _stated(has_fallback: bool, maker: tuple[str, str] | None) -> Provenance:
    return Provenance(has_fallback, frozenset({Maker(*maker)} if maker else ()))


def _report(path: Path) -> Provenance:
    return Provenance(has_fallback_images(path))


READERS: dict[str, Callable[[Path], Provenance]] = {
    "mrd": _mrd,
    "dicom": _dicom,
    "enhanced": _dicom,
    "nifti": _nifti,
    "report": _report,
}
"""Format -> reader of one of its files."""

FURTHER: dict[str, Callable[[Path], FurtherFiles]] = {
    "enhanced": further_dicom,
    "nifti": further_nifti,
}
"""Format -> numbered files beside its target, if that is one file."""
