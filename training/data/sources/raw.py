"""ISMRMRD raw data: every fully sampled slice of a scan, assembled as at the scanner."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from jrsr_core.data import KSpaceVolume
from jrsr_core.mrd.assembly.assemble import Assembler
from jrsr_core.mrd.examination.examine import plan_source
from jrsr_core.mrd.files.scan import ScanFile

from .base import Source, SourceError, anonymous, own_split
from .hdf5 import open_hdf5


class IsmrmrdScan(Source):
    """A fully sampled 2-D scan."""

    kind = "ismrmrd"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with _open(path) as (_, counters):
            n = len(counters)
        subject = _subject(path)
        self.subjects, self.splits = [subject] * n, [own_split(path)] * n

    def read(self, index: int) -> Tensor:
        """Return the k-space of slice `index`.

        Raises
        ------
        SourceError
            The slice is undersampled, or the scan is 3-D.
        """
        with _open(self.path) as (assembler, counters):
            slice_ = assembler.assemble(counters[index])
        if isinstance(slice_, KSpaceVolume):
            raise SourceError(f"{self.path.name}: a 3-D scan; its planes are not read for training")
        share = float(slice_.mask.mean())
        if float(slice_.mask.min()) < 1:
            raise SourceError(
                f"{self.path.name}: slice {index} has {share:.0%} of its k-space, 100% is needed"
            )
        return slice_.kspace


@contextmanager
def _open(path: Path) -> Iterator[tuple[Assembler, list]]:
    """Open a scan and yield its assembler and the counters of its slices."""
    try:
        with ScanFile(path) as file:
            plan = plan_source(file.header, file)
            yield Assembler(file, plan), list(plan.groups)
    except SourceError:
        raise
    except ValueError as error:
        raise SourceError(f"{path.name}: {error}") from error


def _subject(path: Path) -> str:
    """Return a hash of the patient in the header; the name of the file where it has none."""
    with open_hdf5(path) as file:
        group = next((g for g in file.values() if hasattr(g, "keys") and "xml" in g), None)
        text = group["xml"][()].ravel()[0] if group is not None else b""
    text = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
    found = re.search(r"<patientID>([^<]+)</patientID>", text)
    return anonymous(found.group(1)) if found else path.stem
