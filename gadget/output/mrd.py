"""Writer of ISMRMRD images: pixels as they are, or integers with one scale."""

from pathlib import Path

from jrsr_core.mrd.files.image_writer import ImageWriter

from .base import Result, ScanJob, Writer
from .common_scale import CommonScale


class MrdWriter(Writer):
    """Writes the images of a scan to one file; raises as `ImageWriter`."""

    def __init__(self, path: Path, job: ScanJob, *, overwrite: bool) -> None:
        super().__init__(path)
        writer = ImageWriter(path, job.header_xml, overwrite=overwrite)
        self._images = self._on_exit.enter_context(writer)
        self._scale = CommonScale(job.settings.output)
        self._on_exit.callback(self._scale.close)

    def add(self, result: Result) -> None:
        """Add one image or map."""
        for image in self._scale.add(result.mrd):
            self._images.write(image)

    def save(self) -> None:
        """Write the images that waited for their scale."""
        for image in self._scale.finish():
            self._images.write(image)
