"""Writers and viewers of one image for `ReconImage.save` and `.show`.

`jrsr_core` finds them by the entry points of this distribution (`jrsr_core.common.plugins`).
"""

import os
import sys
from pathlib import Path

from PIL import Image, ImageShow

from jrsr_core.common.atomic import write_bytes
from jrsr_core.data import ReconImage
from jrsr_core.mrd.images import research_use, with_scan_header

from .dicom.writer import DicomWriter
from .nifti.writer import NiftiWriter
from .options import OutputOptions
from .pictures.draw import encode_png
from .pictures.png import central_planes, draw_tiles
from .series.store import PlaneWriter

DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")
"""Environment variables, one of which names the screen of a Unix desktop."""


def save_dicom(image: ReconImage, path: Path, *, overwrite: bool = False) -> None:
    """Write a folder of DICOM files; raises as `DicomWriter`."""
    _save_planes(DicomWriter, image, path, overwrite=overwrite)


def save_nifti(image: ReconImage, path: Path, *, overwrite: bool = False) -> None:
    """Write a compressed NIfTI file; raises as `NiftiWriter`."""
    _save_planes(NiftiWriter, image, path, overwrite=overwrite)


def _save_planes(
    writer: type[PlaneWriter], image: ReconImage, path: Path, *, overwrite: bool
) -> None:
    mrd, header_xml = with_scan_header(image)
    with writer(path, header_xml, OutputOptions(overwrite=overwrite)) as planes:
        planes.write(mrd)
        if image.origin is not None:
            planes.store.time_stamps.add(image.origin.first_time_stamp)


def save_png(image: ReconImage, path: Path, *, overwrite: bool = False) -> None:
    """Write a picture of the magnitude, of a volume its three central planes."""
    write_bytes(path, png(image), overwrite=overwrite)


def png(image: ReconImage) -> bytes:
    """Return a PNG file of the magnitude, of a volume its three central planes."""
    return encode_png(draw(image))


def draw(image: ReconImage) -> Image.Image:
    """Return a picture of the magnitude with its model, of a volume its three central planes."""
    report = image.report
    name = f"FALLBACK: {report.fallback}" if report.fallback else report.model
    return draw_tiles(central_planes(image, name), f"{research_use(report)}.")


def show(image: ReconImage) -> None:
    """Show the magnitude inline in a notebook, else in the picture viewer of the desktop.

    Raises
    ------
    RuntimeError
        There is no display.
    """
    picture = draw(image)
    notebook = sys.modules.get("IPython")
    if notebook is not None and notebook.get_ipython() is not None:
        notebook.display.display(picture)
        return
    is_unix = sys.platform not in ("win32", "darwin")
    has_display = not is_unix or any(os.environ.get(name) for name in DISPLAYS)
    if not has_display or not ImageShow.show(picture, "JRSR"):
        raise RuntimeError('no display to show the image on: image.save("image.png") writes it')
