"""Writes one image as an ISMRMRD file, for `ReconImage.save`."""

from pathlib import Path

from jrsr_core.data import ReconImage
from jrsr_core.mrd.images import with_scan_header

from .image_writer import ImageWriter


def save_mrd(image: ReconImage, path: Path, *, overwrite: bool = False) -> None:
    """Write the magnitude with the header of its scan; raises as `ImageWriter`."""
    mrd, header_xml = with_scan_header(image)
    with ImageWriter(path, header_xml, overwrite=overwrite) as images:
        images.write(mrd)
