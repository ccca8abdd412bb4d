"""What JRSR writes into its DICOM files on how their images were made, and reads there again."""

import re
from pathlib import Path

from pydicom import dcmread

from gadget.output.series.attributes import texts_of
from gadget.output.series.planes import Plane
from gadget.output.series.store import Series
from jrsr_core.common.version import software_version
from jrsr_core.mrd.images import FALLBACK_IMAGE, RESEARCH_USE_CONVENTIONAL

MAX_DESCRIPTION, MAX_DERIVATION = 64, 1024
"""Characters of a DICOM long string and of a short text."""

COUNT = re.compile(r"JRSR, \d+ of \d+ FALLBACK images")
"""Mark of a series with fallback images, see `series_mark`."""

MADE_BY = re.compile(
    r" by JRSR [^:]+: (?P<model>.+?)(, weights sha256 (?P<weights>\S+))?; acquired matrix "
)
"""Model and weights in a `derivation`."""


def series_mark(series: Series) -> str:
    """Return how the images of a series were made, and what is wrong with them."""
    first, meta = series.planes[0], series.planes[0].meta
    part = "" if first.part == "MAGNITUDE" else f", {first.part.lower()}"
    if "JRSR_model" in meta:
        text = f"JRSR {meta['JRSR_model']} {meta.get('JRSR_map', '')}".strip() + part
    else:
        text = f"ISMRMRD series {first.series}{part}"
    if n := sum(plane.is_fallback for plane in series.planes):
        text = f"JRSR, {n} of {len(series.planes)} FALLBACK images{part}"
    return (text[:48] + ", INCOMPLETE" if series.is_incomplete else text)[:MAX_DESCRIPTION]


def research_text(plane: Plane) -> str:
    """Return the statement of research use of an image of JRSR."""
    return str(plane.meta.get("JRSR_research_use") or RESEARCH_USE_CONVENTIONAL)


def derivation(plane: Plane) -> str:
    """Return how the image was made, in at most `MAX_DERIVATION` characters."""
    meta = plane.meta
    size = " x ".join(texts_of(meta.get("JRSR_acquired_matrix")))
    made = meta.get("JRSR_model", "unknown system")
    if weights := meta.get("JRSR_weights_sha256"):
        made += f", weights sha256 {weights}"
    if "JRSR_model" not in meta:
        return f"Converted from ISMRMRD by JRSR {software_version()}"
    is_joint = "neural network" in research_text(plane)
    how = "Joint reconstruction and super-resolution" if is_joint else "Reconstruction"
    text = f"{how} by JRSR {software_version()}: {made}; "
    acceleration, denoise = (meta.get(f"JRSR_{name}") for name in ("acceleration", "denoise"))
    shown = "?" if acceleration is None else f"{acceleration:.4g}"
    text += f"acquired matrix {size}, acceleration {shown}. "
    if denoise:
        text += f"Noise of the measured samples removed (denoise {denoise:g}). "
    if plane.is_fallback:
        text += f"{FALLBACK_IMAGE}: {meta['JRSR_fallback']}. "
    return (text + f"{research_text(plane)}.")[:MAX_DERIVATION]


def made_by(path: Path) -> tuple[bool, tuple[str, str] | None]:
    """Return what a DICOM file states, see `series_mark` and `derivation`.

    Returns
    -------
    has_fallback, maker
        Whether its series has fallback images; model and hash of its weights, None if it names
        none, or is a fallback image.
    """
    tags = ["SeriesDescription", "DerivationDescription"]
    ds = dcmread(path, stop_before_pixels=True, specific_tags=tags)
    has_fallback = bool(COUNT.search(str(ds.get("SeriesDescription", ""))))
    text = str(ds.get("DerivationDescription", ""))
    found = None if FALLBACK_IMAGE in text else MADE_BY.search(text)
    return has_fallback, (found["model"], found["weights"] or "") if found else None
