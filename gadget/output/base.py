"""What the writers of all formats share."""

from abc import ABC, abstractmethod
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import ismrmrd

from gadget.compute.engine import Engine
from gadget.settings import Settings
from jrsr_core.common.atomic import check_target, write_bytes
from jrsr_core.data import ReconImage
from jrsr_core.data.origin import VOLUME_COUNTERS
from jrsr_core.mrd.assembly.assemble import Assembler
from jrsr_core.mrd.planning.plan import ScanPlan

AWriter = TypeVar("AWriter", bound="Writer")


@dataclass(frozen=True, eq=False)
class Result:
    """One finished image, or a map of it.

    Attributes
    ----------
    image
        The image with its maps, as tensors.
    mrd
        The image or the map with its header, as it is sent or written.
    map_name
        Name of the map that `mrd` is; empty for the image itself.
    """

    image: ReconImage
    mrd: ismrmrd.Image
    map_name: str = ""

    @property
    def is_fallback(self) -> bool:
        """Whether the image was made without the model."""
        return bool(self.image.report.fallback)

    @property
    def name(self) -> str:
        """Name of the image: slice or volume, and counters that are not zero."""
        counters = self.image.counters
        kind = "slice" if self.image.image.ndim == 2 else "volume"
        further = [f"{name} {n}" for name in VOLUME_COUNTERS if (n := getattr(counters, name))]
        return ", ".join([f"{kind} {counters.slice}", *further])

    @property
    def caption(self) -> str:
        """Name of the image, and FALLBACK."""
        return f"{self.name}: FALLBACK" if self.is_fallback else self.name


@dataclass(frozen=True, eq=False)
class ScanJob:
    """One scan.

    Attributes
    ----------
    source
        File of the scan.
    plan
        Images of the scan and their lines.
    slices
        Assembles the k-space of the images.
    engine
        Reconstructs them.
    settings
        Settings of the reconstruction.
    """

    source: Path
    plan: ScanPlan
    slices: Assembler
    engine: Engine
    settings: Settings

    @property
    def header_xml(self) -> str:
        """Text of the scan header."""
        return self.plan.header.xml


class Writer(ABC):
    """Context manager that collects images and writes its target on leaving without an error."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._on_exit = ExitStack()

    @property
    def has_phase(self) -> bool:
        """Whether one of the series that are written is a phase."""
        return False

    @abstractmethod
    def add(self, result: Result) -> bool | None:
        """Add one image or map; return False if the format cannot hold it: it is left out then."""

    @abstractmethod
    def save(self) -> None:
        """Write the target, complete or not at all."""

    def __enter__(self: AWriter) -> AWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            with self._on_exit:
                self.save()
        else:
            # A file that is being written does not appear then.
            self._on_exit.__exit__(kind, error, trace)


class ScanWriter(Writer):
    """Writer of one file that shows a scan and its images.

    Parameters
    ----------
    path
        File to be written.
    job
        The scan.
    overwrite
        Whether an existing file is replaced.
    """

    def __init__(self, path: Path, job: ScanJob, *, overwrite: bool) -> None:
        check_target(path, overwrite=overwrite)
        super().__init__(path)
        self.job = job
        self.overwrite = overwrite

    @abstractmethod
    def content(self) -> bytes:
        """Return the content of the file, after the last image."""

    def save(self) -> None:
        """Write the file."""
        write_bytes(self.path, self.content(), overwrite=self.overwrite)
