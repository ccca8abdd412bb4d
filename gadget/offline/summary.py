"""What is printed about a reconstructed scan: warnings and one line of result."""

import logging

from gadget.console import print_warning
from gadget.output.base import Result
from jrsr_core.common.spelling import counted
from jrsr_core.reconstruction.warnings import group_warnings

log = logging.getLogger("jrsr")


class Summary:
    """Counts the images of a scan and collects their warnings; as text, the line of result.

    Parameters
    ----------
    name
        Of the scan.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.n_images = self.n_maps = self.n_fallback = 0
        self._sizes: dict[str, None] = {}
        self._warnings: list[tuple[str, ...]] = []

    def add(self, result: Result) -> None:
        """Count one result; the reason for a fallback image is printed at once."""
        if result.map_name:
            self.n_maps += 1
            return
        self.n_images += 1
        report = result.image.report
        self._sizes[" x ".join(map(str, result.image.image.shape))] = None
        self._warnings.append(report.warnings)
        log.debug(
            f"{self.name}: image {self.n_images}: {report.seconds.get('total', 0.0):.2f} s, "
            f"{report.iterations} iterations, k-space residual {report.kspace_residual:.4f} "
            f"(noise {report.expected_residual:.4f}), {report.snr_db:.1f} dB"
        )
        if result.is_fallback:
            self.n_fallback += 1
            print_warning(f"{self.name}: image {self.n_images}: {report.fallback}")

    def print_warnings(self) -> None:
        """Print every kind of warning once, with the number of images it concerns."""
        for warning, n in group_warnings(self._warnings).items():
            which = f"{n} of {self.n_images} images: " if n < self.n_images else ""
            print_warning(f"{self.name}: warning: {which}{warning}")

    def __str__(self) -> str:
        note = f", {self.n_fallback} of them fallback images" if self.n_fallback else ""
        maps = f" and {counted(self.n_maps, 'map')}" if self.n_maps else ""
        images = counted(self.n_images, "image")
        return f"{self.name}: {images}{maps} {' and '.join(self._sizes)}{note}"
