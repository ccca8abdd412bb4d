"""A scan on its way into files."""

from dataclasses import dataclass
from pathlib import Path

import ismrmrd

from gadget.compute.engine import Engine
from gadget.settings import Settings
from jrsr_core.data import ReconImage
from jrsr_core.mrd.assemble import Assembler
from jrsr_core.mrd.plan import ScanPlan


@dataclass(frozen=True, eq=False)
class Result:
    """One finished image, or a map of it: as arrays and as the message that is sent or written.

    `map_name` is the name of the map in `mrd`; empty for the image itself.
    """

    image: ReconImage
    mrd: ismrmrd.Image
    map_name: str = ""

    @property
    def is_fallback(self) -> bool:
        """Whether the image was made without the model."""
        return bool(self.image.report.fallback)


@dataclass(frozen=True, eq=False)
class ScanJob:
    """One scan: its file, its plan, what assembles its slices, and what computes them."""

    source: Path
    plan: ScanPlan
    slices: Assembler
    engine: Engine
    settings: Settings

    @property
    def header_xml(self) -> str:
        """Text of the scan header."""
        return self.plan.header.xml
