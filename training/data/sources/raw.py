"""ISMRMRD raw data: every fully sampled slice of a scan, assembled as at the scanner."""

import re
from pathlib import Path
from typing import Any

from torch import Tensor

from .base import Source, SourceError, anonymous, own_split
from .hdf5 import open_hdf5


class IsmrmrdScan(Source):
    """A fully sampled 2-D scan."""

    kind = "ismrmrd"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with self._slices() as slices:
            n = len(slices)
        subject = _subject(path)
        self.subjects, self.splits = [subject] * n, [own_split(path)] * n

    def _slices(self) -> "_OpenScan":
        return _OpenScan(self.path)

    def read(self, index: int) -> Tensor:
        """Return the k-space of slice `index`.

        Raises
        ------
        SourceError
            The slice is undersampled, or the scan is 3-D.
        """
        with self._slices() as slices:
            slice_ = slices[index]
        if not hasattr(slice_, "kspace"):
            raise SourceError(f"{self.path.name}: a 3-D scan; its planes are not read for training")
        if float(slice_.mask.min()) < 1:
            share = float(slice_.mask.mean())
            raise SourceError(
                f"{self.path.name}: slice {index} has {share:.0%} of its k-space, 100% is needed"
            )
        return slice_.kspace


class _OpenScan:
    """The slices of an open file, by index."""

    def __init__(self, path: Path) -> None:
        try:
            from jrsr_core.mrd.assemble import Assembler
            from jrsr_core.mrd.files.scan import ScanFile
            from jrsr_core.mrd.plan import plan_scan
        except ImportError as error:
            raise SourceError(f"{path.name}: reading raw data needs the package ismrmrd") from error
        try:
            self._file = ScanFile(path)
            plan = plan_scan(self._file.header, self._file.heads)
        except ValueError as error:
            raise SourceError(f"{path.name}: {error}") from error
        self._assembler = Assembler(self._file, plan)
        self._counters = list(plan.groups)

    def __len__(self) -> int:
        return len(self._counters)

    def __getitem__(self, index: int) -> Any:
        return self._assembler.assemble(self._counters[index])

    def __enter__(self) -> "_OpenScan":
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()


def _subject(path: Path) -> str:
    """Patient of the header as a hash; the file's name where it has none."""
    with open_hdf5(path) as file:
        group = next((g for g in file.values() if hasattr(g, "keys") and "xml" in g), None)
        text = group["xml"][()].ravel()[0] if group is not None else b""
    text = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
    found = re.search(r"<patientID>([^<]+)</patientID>", text)
    return anonymous(found.group(1)) if found else path.stem
