"""A scan file as a sequence of slices or volumes, which are read when they are asked for.

The slices are those that `jrsr recon` reconstructs: the same plan, noise and assembler.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import overload

import numpy as np

from jrsr_core.calibration.settings import CalibrationSettings, check_range
from jrsr_core.common.closing import Closing
from jrsr_core.data import Counters, KSpaceSlice, KSpaceVolume, ScanOrigin
from jrsr_core.mrd.assembly.assemble import Assembler
from jrsr_core.mrd.errors import BadScan, UnsupportedScan
from jrsr_core.mrd.examination.examine import plan_source
from jrsr_core.mrd.header.scan_header import ScanHeader
from jrsr_core.mrd.lines.numbering import Numbering
from jrsr_core.mrd.lines.time_stamps import first_time_stamp

from .other_noise import other_noise
from .scan import ScanFile

Data = KSpaceSlice | KSpaceVolume


class Scan(Sequence[Data], Closing):
    """The slices, or volumes, of an ISMRMRD file; `read_scan` makes one.

    Indexing reads from the file, which stays open until `close` or the end of the context.

    Attributes
    ----------
    path
        The file.
    header
        `ScanHeader`: matrix, field of view, protocol, times; its ``xml`` is the whole text.
    counters
        Counters of every image, in order.
    """

    def __init__(
        self,
        path: Path,
        *,
        dataset: str,
        prewhiten: bool,
        noise_file: str | Path | None,
        n_virtual_coils: int,
    ) -> None:
        self.path = path
        self._is_closed = False
        self._file = ScanFile(path, dataset=dataset)
        try:
            plan = plan_source(self._file.header, self._file)
            self._lines = Assembler(
                self._file,
                plan,
                prewhiten=prewhiten,
                noise=other_noise(self._file, plan, noise_file) if prewhiten else None,
                n_virtual_coils=n_virtual_coils,
            )
        except BaseException:
            self._file.close()
            raise
        self.header: ScanHeader = plan.header
        self.counters: tuple[Counters, ...] = tuple(plan.groups)
        numbering = Numbering(plan.header.encodings)
        stamps = self._file.heads["acquisition_time_stamp"]
        first = first_time_stamp(stamps[np.concatenate(list(plan.groups.values()))])
        self._origins = [self._origin(counters, numbering, first) for counters in self.counters]

    def _origin(self, counters: Counters, numbering: Numbering, first: int) -> ScanOrigin:
        return ScanOrigin(
            self.header.xml,
            self.header.encodings[counters.encoding].recon_fov_mm,
            series=1 + numbering.series(counters),
            number=numbering.number(counters),
            first_time_stamp=first,
        )

    @property
    def n_coils(self) -> int:
        """Number of receive channels."""
        return self._lines.plan.n_coils

    def __len__(self) -> int:
        return len(self.counters)

    @overload
    def __getitem__(self, index: int) -> Data: ...
    @overload
    def __getitem__(self, index: slice) -> list[Data]: ...
    def __getitem__(self, index: int | slice) -> Data | list[Data]:
        """Read one slice or volume, or several.

        Raises
        ------
        ValueError
            The scan is closed.
        IndexError
            The scan has fewer.
        PartialImage
            Samples that are not finite, averages that contradict each other, or a measurement that
            broke off; its `rest` is the slice of the usable lines.
        UnsupportedScan
            Lines that do not fit the encoded matrix.
        """
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        n = len(self)
        if not -n <= index < n:
            raise IndexError(f"image {index} of {self.path.name}, which has {n}")
        if self._is_closed:
            raise ValueError(f"{self.path.name} is closed, read_scan opens it again")
        made = self._lines.assemble(self.counters[index])
        return replace(made, origin=self._origins[index])

    def __iter__(self) -> Iterator[Data]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        encoding = self.header.encodings[self.counters[0].encoding]
        nz, ny, nx = encoding.encoding_matrix[0], encoding.encoding_matrix[1], encoding.readout_size
        kind, matrix = ("volumes", f"{nz} x {ny} x {nx}") if nz > 1 else ("slices", f"{ny} x {nx}")
        kind = kind if len(self) > 1 else kind.removesuffix("s")
        return f"Scan({self.path.name}, {len(self)} {kind} {matrix}, {self.n_coils} coils)"

    def close(self) -> None:
        """Close the file; slices that were read stay usable."""
        self._is_closed = True
        self._file.close()


def read_scan(
    path: str | Path,
    *,
    dataset: str = "",
    prewhiten: bool = True,
    noise_file: str | Path | None = None,
    n_virtual_coils: int = CalibrationSettings.n_virtual_coils,
) -> Scan:
    """Open an ISMRMRD file as a sequence of `KSpaceSlice`, or of `KSpaceVolume` for 3-D scans.

    The file is read in this process; `jrsr recon --untrusted` reads files of unknown origin.

    Parameters
    ----------
    path
        The file.
    dataset
        Group of the file to read; empty for ``dataset``, or the only one.
    prewhiten
        Use the noise lines of the scan, or those of `noise_file`.
    noise_file
        ISMRMRD file of an earlier scan whose noise lines replace those of this scan; None or empty
        for none.
    n_virtual_coils
        Virtual coils to which a 3-D scan is compressed while it is read. The coils of slices, and
        those of a 3-D scan again, are compressed by the model: `load_model` takes their number in
        `calibration`.

    Raises
    ------
    FileNotFoundError
        No such file.
    BadScan, UnsupportedScan
        The file, or `noise_file`, is broken, or a kind of scan that is not reconstructed; both are
        `ValueError`.
    ValueError
        `n_virtual_coils` is no whole number, or out of range.
    """
    check_range("n_virtual_coils", n_virtual_coils)
    path = Path(path)
    try:
        return Scan(
            path,
            dataset=dataset,
            prewhiten=prewhiten,
            noise_file=noise_file,
            n_virtual_coils=n_virtual_coils,
        )
    except (BadScan, UnsupportedScan) as error:
        raise type(error)(f"{path.name}: {error}") from error
