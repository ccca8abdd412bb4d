"""A scan on its way into files."""

from dataclasses import dataclass
from pathlib import Path

from gadget.compute.engine import Engine
from gadget.scan.inspect import Inspection
from gadget.settings import Settings
from jrsr_core.mrd.assemble import Assembler


@dataclass(frozen=True, eq=False)
class ScanJob:
    """Where the scan comes from, what is in it, what assembles and what computes it."""

    source: Path
    found: Inspection
    slices: Assembler
    engine: Engine
    settings: Settings

    @property
    def header_xml(self) -> str:
        """Text of the scan header."""
        return self.found.plan.header.xml
