"""What is printed about a scan: warnings as images come, and one line at the end."""

import logging

from gadget.console import print_warning
from gadget.output.base import Result
from jrsr_core.reconstruction.warnings import group_warnings

log = logging.getLogger("jrsr")


class Summary:
    """Counts the images of a scan as they come."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.n_images = self.n_maps = self.n_fallback = 0
        self._sizes: dict[str, None] = {}
        self._warnings: list[tuple[str, ...]] = []

    def add(self, result: Result) -> None:
        """Count one result; a fallback image is told at once."""
        if result.map_name:
            self.n_maps += 1
            return
        self.n_images += 1
        report = result.image.report
        self._sizes[" x ".join(map(str, result.image.image.shape))] = None
        self._warnings.append(report.warnings)
        log.debug(
            "%s: image %d: %.2f s, %d iterations, k-space residual %.4f (noise %.4f), %.1f dB",
            *(self.name, self.n_images, report.seconds.get("total", 0.0), report.iterations),
            *(report.kspace_residual, report.expected_residual, report.snr_db),
        )
        if result.is_fallback:
            self.n_fallback += 1
            print_warning(f"{self.name}: image {self.n_images}: {report.fallback}")

    def warn(self) -> None:
        """Say every kind of warning once, with the number of images it is about."""
        for warning, n in group_warnings(self._warnings).items():
            which = f"{n} of {self.n_images} images: " if n < self.n_images else ""
            print_warning(f"{self.name}: warning: {which}{warning}")

    def line(self) -> str:
        """Return the scan, its images and their size."""
        text = "1 image" if self.n_images == 1 else f"{self.n_images} images"
        note = f", {self.n_fallback} of them fallback images" if self.n_fallback else ""
        maps = f" and {self.n_maps} maps" if self.n_maps else ""
        return f"{self.name}: {text}{maps} {' and '.join(self._sizes)}{note}"
