"""`--report`: one HTML page per scan, for whoever has to decide whether to trust its images."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from gadget.output.base import Result, ScanJob, ScanWriter
from jrsr_core.data import ReconReport
from jrsr_core.mrd.errors import BadSamples

from .html import page
from .sections import ScanPage, ShownImage
from .views import coil_magnitudes, coverage, make_view, plane_of

MAX_SHOWN = 24
"""Images of a scan that the page shows; of longer scans evenly spread ones."""


@dataclass
class _Seen:
    """What is kept of every image."""

    reports: list[ReconReport]
    shown: list[ShownImage]
    shape: tuple[int, ...] = ()


class ReportWriter(ScanWriter):
    """Context manager that leaves the page when the scan is complete."""

    def __init__(self, path: Path, job: ScanJob, *, overwrite: bool) -> None:
        super().__init__(path, job, overwrite=overwrite)
        self._job = job
        n = len(job.plan.groups)
        n_shown = min(n, MAX_SHOWN)
        self._wanted = {round(i * (n - 1) / max(n_shown - 1, 1)) for i in range(n_shown)}
        self._middle = sorted(self._wanted)[len(self._wanted) // 2]
        self._seen = _Seen([], [])
        self._coverage = self._coils = None

    def write(self, result: Result) -> None:
        """Keep the figures of an image, and its pictures if it is shown."""
        if result.map_name:
            return
        index = len(self._seen.reports)
        self._seen.reports.append(result.image.report)
        self._seen.shape = tuple(result.image.image.shape)
        if index in self._wanted:
            self._show(index, result)

    def _show(self, index: int, result: Result) -> None:
        image, job = result.image, self._job
        counters = image.counters
        try:
            made = job.slices.assemble(counters)
        except BadSamples as error:
            made = error.rest
        recon = job.engine.model
        encoding = job.plan.encoding_of(counters)
        view = make_view(made, image, recon, encoding)
        self._seen.shown.append(ShownImage(index + 1, counters, view, image.report))
        if index == self._middle:
            slice_ = plane_of(made)
            self._coverage = coverage(slice_)
            try:
                self._coils = coil_magnitudes(recon.calibrated(slice_))
            except ValueError:
                self._coils = []

    def _page(self) -> str:
        job = self._job
        header = job.plan.header
        content = ScanPage(
            name=job.source.name,
            scan_sha256=_sha256(job.source),
            protocol=header.protocol_name,
            system=header.system,
            field_t=header.field_strength_t,
            settings=job.settings.model_dump(),
            cards=job.engine.model.cards,
            reports=self._seen.reports,
            shown=self._seen.shown,
            hr_shape=self._seen.shape,
            middle=self._middle + 1,
            coverage=self._coverage,
            coils=self._coils,
            has_noise_lines=bool(len(job.plan.noise) or job.settings.noise_file),
        )
        return page(f"JRSR: {job.source.name}", content.sections())

    def content(self) -> bytes:
        """Return the page."""
        return self._page().encode("utf-8")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()
