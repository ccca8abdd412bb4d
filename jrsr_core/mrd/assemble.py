"""Lines -> `KSpaceSlice` for 2-D Cartesian scans, one slice in memory at a time.

Line idx lies at row idx - center + ny//2 of the encoded matrix (at row idx where the header gives
no centre); calibration lines of the same encoding are lines like any other; lines measured more
than once are averaged. Rows never measured (acceleration, partial Fourier, partial matrix) are
zero in the mask.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ..calibration.acs import find_acs
from ..calibration.whitening import whiten
from ..geometry import (
    AcquisitionStamp,
    Counters,
    Encoding,
    KSpaceSlice,
    SliceGeometry,
    Vector,
)
from .errors import BadSamples, BadScan, UnsupportedScan
from .lines import LineSource
from .noise import scan_whitening
from .plan import ScanPlan
from .readout import plan_readout, readout_kinds, readout_size

LINES_AT_ONCE = 128


class Assembler:
    """Iterates over the slices of a planned scan.

    `whitening` is a `Whitening` or None; pass ``prewhiten=False`` to leave noise lines unused.
    """

    def __init__(self, source: LineSource, plan: ScanPlan, *, prewhiten: bool = True) -> None:
        self.source = source
        self.plan = plan
        self.whitening = scan_whitening(source, plan) if prewhiten else None

    def __len__(self) -> int:
        return len(self.plan.groups)

    def __iter__(self) -> Iterator[KSpaceSlice]:
        for counters in self.plan.groups:
            yield self.assemble(counters)

    def assemble(self, counters: Counters) -> KSpaceSlice:
        """Return one slice.

        Raises
        ------
        BadSamples
            Samples that are not finite; it carries the slice without the lines concerned.
        UnsupportedScan
            Lines that do not fit the encoded matrix.
        """
        lines = self.plan.groups[counters]
        total, finite = self._sum_of_lines(lines)
        if not finite.any():
            raise BadScan(f"NaN or infinite samples in every line of slice {counters.slice}")
        slice_ = self._slice(counters, lines[finite], total)
        if not finite.all():
            n_bad = int((~finite).sum())
            raise BadSamples(f"NaN or infinite samples in {n_bad} of {len(lines)} lines", slice_)
        return slice_

    def _slice(self, counters: Counters, lines: np.ndarray, total: Tensor) -> KSpaceSlice:
        heads = self.source.heads[lines]
        counts = line_counts(heads, self.plan.encoding)
        kspace = total / counts.clamp_min(1)
        mask = (counts > 0).to(torch.float32)
        central = heads[_nearest_center(heads, self.plan.encoding)]
        return KSpaceSlice(
            kspace=kspace,
            mask=mask,
            acs=cut_acs_or_nothing(kspace, mask),
            geometry=_geometry(central, self.plan.encoding),
            counters=counters,
            stamp=_stamp(central),
            noise_std=self._noise_std(counts),
        )

    def _noise_std(self, counts: Tensor) -> float | None:
        """Root mean square over the measured samples; n averages divide the variance by n."""
        if self.whitening is None:
            return None
        return self.whitening.noise_std * float(counts[counts > 0].reciprocal().mean().sqrt())

    def _sum_of_lines(self, lines: np.ndarray) -> tuple[Tensor, np.ndarray]:
        """Return the sum ``(coil, ky, kx)`` of the finite lines, and which lines are finite."""
        encoding = self.plan.encoding
        shape = (encoding.encoding_matrix[1], self.plan.n_coils, readout_size(encoding))
        total = torch.zeros(shape, dtype=torch.complex64)
        finite = np.ones(len(lines), dtype=bool)
        heads = self.source.heads[lines]
        rows = line_rows(heads, encoding)
        for kind, members in readout_kinds(heads).items():
            readout = plan_readout(kind, encoding)
            members = members[_inside(rows[members], shape[0])]
            for start in range(0, len(members), LINES_AT_ONCE):
                part = members[start : start + LINES_AT_ONCE]
                samples = torch.from_numpy(self.source.samples(lines[part]))
                good = _finite_lines(samples)
                if not good.all():
                    finite[part] = good.numpy()
                    samples, part = samples[good], part[good.numpy()]
                if self.whitening is not None:
                    samples = whiten(self.whitening.matrix, samples.movedim(0, 1)).movedim(0, 1)
                total.index_add_(0, torch.from_numpy(rows[part]), readout(samples))
        return total.movedim(0, 1).contiguous(), finite


def _finite_lines(samples: Tensor) -> Tensor:
    """Boolean per line of ``(line, coil, sample)``."""
    # The sum is finite unless a sample is not (or all are huge): one pass in the usual case.
    if torch.isfinite(samples.sum().abs()):
        return torch.ones(len(samples), dtype=torch.bool)
    return torch.isfinite(torch.view_as_real(samples)).flatten(1).all(1)


def line_rows(heads: np.ndarray, encoding: Encoding) -> np.ndarray:
    """Row of every line on the encoded matrix, int64; may lie outside."""
    rows = heads["idx"]["kspace_encode_step_1"].astype(np.int64)
    if encoding.center_line is None:
        return rows
    return rows - encoding.center_line + encoding.encoding_matrix[1] // 2


def line_counts(heads: np.ndarray, encoding: Encoding) -> Tensor:
    """How often every sample ``(ky, kx)`` was measured, float32.

    Raises
    ------
    UnsupportedScan
        If no line lies on the encoded matrix.
    """
    ny = encoding.encoding_matrix[1]
    rows = line_rows(heads, encoding)
    if not _inside(rows, ny).any():
        raise UnsupportedScan(
            f"lines {rows.min()}..{rows.max()} lie outside the encoded matrix of {ny} lines"
        )
    counts = torch.zeros(ny, readout_size(encoding))
    for kind, members in readout_kinds(heads).items():
        per_row = np.bincount(rows[members[_inside(rows[members], ny)]], minlength=ny)
        span = plan_readout(kind, encoding).span
        counts[:, span] += torch.from_numpy(per_row.astype(np.float32))[:, None]
    return counts


def lines_outside(heads: np.ndarray, encoding: Encoding) -> int:
    """Count lines that the encoded matrix does not hold; they are left out."""
    return int((~_inside(line_rows(heads, encoding), encoding.encoding_matrix[1])).sum())


def cut_acs_or_nothing(kspace: Tensor, mask: Tensor) -> Tensor:
    """Return the ACS ``(coil, ay, ax)``, of size 0 where the centre of k-space is missing.

    The reconstruction then says what it needs; the slice itself is still good for a fallback.
    """
    try:
        rows, columns = find_acs(mask)
    except ValueError:
        return kspace[:, :0, :0]
    return kspace[:, rows, columns]


def _inside(rows: np.ndarray, ny: int) -> np.ndarray:
    return (rows >= 0) & (rows < ny)


def _nearest_center(heads: np.ndarray, encoding: Encoding) -> int:
    distance = np.abs(line_rows(heads, encoding) - encoding.encoding_matrix[1] // 2)
    return int(distance.argmin())


def _vector(record: np.void, name: str) -> Vector:
    return tuple(float(v) for v in record[name])


def _geometry(head: np.void, encoding: Encoding) -> SliceGeometry:
    axes = [_vector(head, name) for name in ("read_dir", "phase_dir", "slice_dir")]
    # Simulated files leave the directions empty; an image needs some.
    if not all(any(axis) for axis in axes):
        axes = [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)]
    n_encoded, fov = encoding.encoding_matrix[2], encoding.encoding_fov_mm
    return SliceGeometry(
        position_mm=_vector(head, "position"),
        read_dir=axes[0],
        phase_dir=axes[1],
        slice_dir=axes[2],
        fov_mm=(encoding.recon_fov_mm[0], fov[1], fov[2] * readout_size(encoding) / n_encoded),
        patient_table_position_mm=_vector(head, "patient_table_position"),
    )


def _stamp(head: np.void) -> AcquisitionStamp:
    return AcquisitionStamp(
        measurement_uid=int(head["measurement_uid"]),
        scan_counter=int(head["scan_counter"]),
        acquisition_time_stamp=int(head["acquisition_time_stamp"]),
        physiology_time_stamp=tuple(int(v) for v in head["physiology_time_stamp"]),
        user_int=tuple(int(v) for v in head["user_int"]),
        user_float=tuple(float(v) for v in head["user_float"]),
    )
