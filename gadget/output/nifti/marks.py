"""What JRSR writes into the headers of its NIfTI files, and reads there to know them again."""

import re
from pathlib import Path

from gadget.output.series.planes import typical
from gadget.output.series.stacks import Stack

from .gradients import SUFFIXES

MARK = "JRSR"
"""Begins the description in the header of all files of JRSR."""

GRADIENTS = " ".join(SUFFIXES)
"""Header field `aux_file` of images beside which JRSR wrote .bval and .bvec."""

MAX_DESCRIPTION, MAX_MEANING = 79, 15
N_HASH = 12
"""Characters of a description, of a meaning, and of the hash of the weights."""


def description(stack: Stack, *, is_incomplete: bool) -> str:
    """Return model and weights, then how many images or planes are FALLBACK, and INCOMPLETE.

    The name of the model is cut so that the rest is there in full.
    """
    planes = [plane for frame in stack.frames for plane in frame]
    meta = typical(planes).meta
    end = ""
    if n_fallback := sum(plane.is_fallback for plane in planes):
        noun = "" if planes[0].step is None else " planes"
        end += f", {n_fallback} of {len(planes)} FALLBACK{noun}"
    if is_incomplete:
        end += ", INCOMPLETE"
    weights = meta.get("JRSR_weights_sha256", "")[:N_HASH]
    model = meta.get("JRSR_model", "")[: MAX_DESCRIPTION - len(f"{MARK}  {weights}{end}")]
    return " ".join(filter(None, (MARK, model, weights))) + end


def meaning(stack: Stack) -> str:
    """Return which map, or part of a complex image, the values are; empty for magnitudes."""
    plane = stack.frames[0][0]
    part = "" if plane.part == "MAGNITUDE" else plane.part.lower()
    return str(plane.meta.get("JRSR_map") or part)[:MAX_MEANING]


def is_own_file(path: Path) -> bool:
    """Tell whether a file is a NIfTI file of JRSR."""
    return _header_text(path, "descrip").startswith(MARK)


def made_by(path: Path) -> tuple[bool, tuple[str, str] | None]:
    """Return what the description of a NIfTI file of JRSR states, see `description`.

    Returns
    -------
    has_fallback, maker
        Whether it counts fallback images; model and beginning of the hash of its weights, None if
        it may be cut, names none, or names the model of fallback images alone.
    """
    text = _header_text(path, "descrip")
    mark, *maker = text.partition(", ")[0].split()[:3] or [""]
    if mark != MARK:
        return False, None
    is_cut, is_fallback = len(text) >= MAX_DESCRIPTION, re.search(r"(\d+) of \1 FALLBACK", text)
    if is_cut or is_fallback or not maker:
        return " FALLBACK" in text, None
    return " FALLBACK" in text, (maker[0], maker[1] if len(maker) > 1 else "")


def has_own_gradients(path: Path) -> bool:
    """Tell whether JRSR wrote diffusion weightings beside an image; others stay."""
    return is_own_file(path) and _header_text(path, "aux_file") == GRADIENTS


def gradients_are_shared(path: Path) -> bool:
    """Tell whether the weightings beside ``head.nii`` are those of ``head.nii.gz``, or reversed."""
    name = path.name
    other = name.removesuffix(".gz") if name.endswith(".gz") else f"{name}.gz"
    return has_own_gradients(path.with_name(other))


def _header_text(path: Path, field: str) -> str:
    """Return a text of the header of a NIfTI file, empty for any other file."""
    from nibabel import Nifti1Image  # Optional: extra `nifti`.
    from nibabel.filebasedimages import ImageFileError
    from nibabel.wrapstruct import WrapStructError

    try:
        text = bytes(Nifti1Image.from_filename(path).header[field].item())
    except (OSError, EOFError, ValueError, ImageFileError, WrapStructError):
        return ""
    return text.decode(errors="replace")
