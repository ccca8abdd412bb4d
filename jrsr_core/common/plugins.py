"""Finds functions and networks of other packages by the entry points that these declare.

This package computes images; files for viewers and archives, and pictures, are made by packages
above it, which it does not import. An installed distribution names its functions in the groups

    jrsr.formats           ending of a file ("nii.gz") -> ``save(image, path, *, overwrite)``
    jrsr.viewers           "show" -> ``show(image)``, "png" -> ``png(image) -> bytes``
    jrsr.joint_models      name -> class or function that returns a `JointModel`
    jrsr.recon_models      the same for a `ReconModel`
    jrsr.upsample_models   the same for an `UpsampleModel`

so a further format or network needs no change here.
"""

from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

FORMATS, VIEWERS = "jrsr.formats", "jrsr.viewers"
MODELS = {
    "joint": "jrsr.joint_models",
    "recon": "jrsr.recon_models",
    "upsample": "jrsr.upsample_models",
}
"""Kind of a network -> group."""

OURS = "gadgetron-jrsr"
"""Distribution whose package `gadget` writes DICOM, NIfTI and PNG."""


def find_plugin(group: str, name: str) -> Callable[..., Any]:
    """Return the function that an installed distribution declares under this name.

    Raises
    ------
    ImportError
        None does, or its package cannot be imported; the message says what to install.
    """
    found = list(entry_points(group=group, name=name))
    hint = "" if group in MODELS.values() else f': pip install "{OURS}" (package gadget)'
    if not found:
        raise ImportError(f"no installed package has {name!r} of {group}{hint}")
    try:
        return found[0].load()
    except ImportError as error:
        raise ImportError(
            f"{found[0].value} of {group} cannot be imported ({error}){hint}"
        ) from error


@cache
def declared_models() -> dict[str, str]:
    """Return the networks that installed distributions declare: name -> kind.

    Installed packages are looked up once per process.
    """
    return {e.name: kind for kind, group in MODELS.items() for e in entry_points(group=group)}


def writer_of(path: Path) -> Callable[..., None]:
    """Return the function that writes an image to a file of this ending.

    Raises
    ------
    ValueError
        An ending that no installed package writes; the message lists the others.
    ImportError
        As `find_plugin`.
    """
    endings = sorted({entry.name for entry in entry_points(group=FORMATS)}, key=len, reverse=True)
    if not endings:
        return find_plugin(FORMATS, path.suffix.removeprefix("."))
    for ending in endings:
        if path.name.lower().endswith(f".{ending}"):
            return find_plugin(FORMATS, ending)
    known = ", ".join(f".{ending}" for ending in sorted(endings))
    raise ValueError(f"{path.name}: no installed package writes this ending, known: {known}")
