"""Writes the report of a scan: one HTML page from which to judge its images."""

from pathlib import Path

import numpy as np

from gadget.output.base import Result, ScanJob, ScanWriter
from jrsr_core.data import ReconReport
from jrsr_core.data.acceleration import sampled_acceleration
from jrsr_core.mrd.errors import PartialImage
from jrsr_core.spread import spread

from .page import ScanPage, ShownImage
from .views import coil_magnitudes, coverage, make_view, plane_of

MAX_SHOWN = 24
"""Images that the page shows; of a longer scan it shows evenly spread ones."""


class ReportWriter(ScanWriter):
    """Writer of the page; it keeps the reports of all images and the pictures of some."""

    def __init__(self, path: Path, job: ScanJob, *, overwrite: bool) -> None:
        super().__init__(path, job, overwrite=overwrite)
        self._wanted = spread(len(job.plan.groups), MAX_SHOWN)
        self._reports: list[ReconReport] = []
        self._shown: list[ShownImage] = []
        self._hr_shape: tuple[int, ...] = ()
        self._coverage = np.zeros((1, 1), np.uint8)
        self._acceleration = 1.0
        self._coils: list[np.ndarray] = []

    def add(self, result: Result) -> None:
        """Add the report of an image, and its pictures if the page shows it."""
        if result.map_name:
            return
        if len(self._reports) in self._wanted:
            self._show(result)
        self._reports.append(result.image.report)
        self._hr_shape = tuple(result.image.image.shape)

    def content(self) -> bytes:
        """Return the page."""
        page = ScanPage(
            self.job,
            self._reports,
            self._shown,
            self._hr_shape,
            self._coverage,
            self._acceleration,
            self._coils,
        )
        return page.render().encode("utf-8")

    def _show(self, result: Result) -> None:
        image, job = result.image, self.job
        try:
            made = job.slices.assemble(image.counters)
        except PartialImage as error:
            made = error.rest
        if len(self._shown) == len(self._wanted) // 2:
            plane = plane_of(made)
            self._coverage = coverage(plane)
            self._acceleration = sampled_acceleration(plane.mask)
            try:
                self._coils = coil_magnitudes(job.engine.model.slices.calibrated(plane))
            except Exception:
                # Whatever made this image a fallback image; it has no coil maps to show.
                self._coils = []
        view = make_view(made, image, job.engine.model, job.plan.encoding_of(image.counters))
        self._shown.append(ShownImage(result.caption, view, image.report))
