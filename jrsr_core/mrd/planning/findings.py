"""Findings about a scan that come from its samples, and what they change in its header.

`examine` finds them; `plan_scan` plans the scan by them. Each decision that differs from the header
comes with a note, one sentence for the user, which becomes a warning of the images.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from jrsr_core.mrd.header.encoding import Encoding
from jrsr_core.mrd.header.scan_header import ScanHeader
from jrsr_core.mrd.lines.readout import EchoKey


@dataclass(frozen=True)
class SpaceFindings:
    """Findings about the lines of one encoding space; None where the header is followed.

    Attributes
    ----------
    center_line, center_partition
        Counters at which the energy of k-space peaks.
    n_encoded
        Samples that cover the encoded field of view along the readout.
    encoded_fov_x_mm
        Encoded field of view along the readout.
    echoes
        Sample of the echo, in the order of ascending k, by kind of line.
    broken_coils
        Channels without a usable sample.
    notes
        The decisions, one sentence each.
    is_certain
        Whether the examined lines had enough signal to be judged.
    """

    center_line: int | None = None
    center_partition: int | None = None
    n_encoded: int | None = None
    encoded_fov_x_mm: float | None = None
    echoes: Mapping[EchoKey, int] = field(default_factory=dict)
    broken_coils: frozenset[int] = frozenset()
    notes: tuple[str, ...] = ()
    is_certain: bool = True

    @property
    def changes_plan(self) -> bool:
        """Whether a plan with these findings differs from one without."""
        return bool(self.notes or self.echoes or self.broken_coils)

    def applied(self, encoding: Encoding) -> Encoding:
        """Return the encoding space with these findings in place of the header's numbers."""
        nz, ny, nx = encoding.encoding_matrix
        z, y, x = encoding.encoding_fov_mm
        line, partition = self.center_line, self.center_partition
        return replace(
            encoding,
            encoding_matrix=(nz, ny, self.n_encoded or nx),
            encoding_fov_mm=(z, y, self.encoded_fov_x_mm or x),
            center_line=encoding.center_line if line is None else line,
            center_partition=encoding.center_partition if partition is None else partition,
        )


@dataclass(frozen=True)
class ScanFindings:
    """Findings about a scan: by encoding space, and whether every line is there several times."""

    spaces: Mapping[int, SpaceFindings] = field(default_factory=dict)
    has_copies: bool = False

    @property
    def broken_coils(self) -> frozenset[int]:
        """Channels without a usable sample in some encoding space."""
        return frozenset[int]().union(*(findings.broken_coils for findings in self.spaces.values()))

    def applied(self, header: ScanHeader) -> ScanHeader:
        """Return the header with the findings in place of its numbers; its text stays."""
        if not self.spaces:
            return header
        encodings = (
            self.spaces[n].applied(e) if n in self.spaces else e
            for n, e in enumerate(header.encodings)
        )
        return replace(header, encodings=tuple(encodings))

    def echoes(self, space: int) -> Mapping[EchoKey, int]:
        """Return the samples of the echoes of an encoding space."""
        return self.spaces[space].echoes if space in self.spaces else {}


NO_FINDINGS = ScanFindings()
