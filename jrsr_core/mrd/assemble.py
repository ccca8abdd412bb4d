"""Lines -> `KSpaceSlice`, one slice in memory at a time; 3-D scans -> `KSpaceVolume`.

Calibration lines of the same encoding are lines like any other; lines measured more than once are
averaged. There is one assembler for the file, the bucket and raw lines.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ..calibration.acs import find_acs
from ..geometry import (
    AcquisitionStamp,
    Counters,
    Encoding,
    KSpaceSlice,
    SliceGeometry,
    Vector,
)
from .acs import read_acs
from .errors import BadSamples, BadScan
from .lines import LineSource
from .noise import NoiseData, Whitening, make_whitening, read_noise
from .placement import Grid, line_counts
from .plan import ScanPlan
from .reader import LineReader
from .readout import readout_size


class Assembler:
    """Iterates over the slices of a planned scan.

    Parameters
    ----------
    prewhiten
        False leaves noise lines unused.
    noise
        Noise of an earlier scan, used instead of the scan's own.
    """

    def __init__(
        self,
        source: LineSource,
        plan: ScanPlan,
        *,
        prewhiten: bool = True,
        noise: NoiseData | None = None,
    ) -> None:
        self.source = source
        self.plan = plan
        self.whitening = _scan_whitening(source, plan, noise) if prewhiten else None
        self.reader = LineReader(source, self.whitening)
        self._acs: dict[int, Tensor] = {}

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
        encoding, lines = self.plan.encoding, self.plan.groups[counters]
        line_counts(self.source.heads[lines], encoding)
        total, finite = self.reader.sum(lines, Grid.of(encoding), encoding)
        if not finite.any():
            raise BadScan(f"NaN or infinite samples in every line of slice {counters.slice}")
        slice_ = self._slice(counters, lines[finite], total.movedim(0, 1).contiguous())
        if not finite.all():
            n_bad = int((~finite).sum())
            raise BadSamples(f"NaN or infinite samples in {n_bad} of {len(lines)} lines", slice_)
        return slice_

    def _slice(self, counters: Counters, lines: np.ndarray, total: Tensor) -> KSpaceSlice:
        heads, encoding = self.source.heads[lines], self.plan.encoding
        counts = line_counts(heads, encoding)
        kspace = total / counts.clamp_min(1)
        mask = (counts > 0).to(torch.float32)
        central = heads[Grid.of(encoding).nearest_center(heads)]
        shared = self._shared_acs(counters.slice)
        return KSpaceSlice(
            kspace=kspace,
            mask=mask,
            acs=cut_acs_or_nothing(kspace, mask) if shared is None else shared,
            geometry=slice_geometry(central, encoding),
            counters=counters,
            stamp=acquisition_stamp(central),
            noise_std=self._noise_std(counts),
            is_acs_shared=shared is not None,
        )

    def _shared_acs(self, number: int) -> Tensor | None:
        """ACS that all images of a slice share, read once; None where each has its own."""
        if number not in self.plan.calibration:
            return None
        if number not in self._acs:
            chosen = self.plan.calibration[number]
            self._acs[number] = read_acs(self.reader, chosen, self.plan.encoding)
        return self._acs[number]

    def _noise_std(self, counts: Tensor) -> float | None:
        """Root mean square over the measured samples; n averages divide the variance by n."""
        if self.whitening is None:
            return None
        return self.whitening.noise_std * float(counts[counts > 0].reciprocal().mean().sqrt())


def _scan_whitening(
    source: LineSource, plan: ScanPlan, earlier: NoiseData | None
) -> Whitening | None:
    noise = earlier or read_noise(source, plan.noise, plan.header.noise_bandwidth)
    if noise is None:
        return None
    first_image = next(iter(plan.groups.values()))[0]
    return make_whitening(noise, float(source.heads["sample_time_us"][first_image]), plan.n_coils)


def cut_acs_or_nothing(kspace: Tensor, mask: Tensor) -> Tensor:
    """Return the ACS ``(coil, ay, ax)``, of size 0 where the centre of k-space is missing.

    The reconstruction then says what it needs; the slice itself is still good for a fallback.
    """
    try:
        rows, columns = find_acs(mask)
    except ValueError:
        return kspace[:, :0, :0]
    return kspace[:, rows, columns]


def _vector(record: np.void, name: str) -> Vector:
    return tuple(float(v) for v in record[name])


def slice_geometry(head: np.void, encoding: Encoding) -> SliceGeometry:
    """Where the acquired image lies: readout oversampling removed, phase oversampling not."""
    axes = [_vector(head, name) for name in ("read_dir", "phase_dir", "slice_dir")]
    # Simulated files leave the directions empty; an image needs some.
    if not all(any(axis) for axis in axes):
        axes = [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)]
    fov_z = (encoding.encoding_fov_mm if encoding.is_3d else encoding.recon_fov_mm)[0]
    n_encoded, fov = encoding.encoding_matrix[2], encoding.encoding_fov_mm
    return SliceGeometry(
        position_mm=_vector(head, "position"),
        read_dir=axes[0],
        phase_dir=axes[1],
        slice_dir=axes[2],
        fov_mm=(fov_z, fov[1], fov[2] * readout_size(encoding) / n_encoded),
        patient_table_position_mm=_vector(head, "patient_table_position"),
    )


def acquisition_stamp(head: np.void) -> AcquisitionStamp:
    """Fields of a line that its image copies."""
    return AcquisitionStamp(
        measurement_uid=int(head["measurement_uid"]),
        scan_counter=int(head["scan_counter"]),
        acquisition_time_stamp=int(head["acquisition_time_stamp"]),
        physiology_time_stamp=tuple(int(v) for v in head["physiology_time_stamp"]),
        user_int=tuple(int(v) for v in head["user_int"]),
        user_float=tuple(float(v) for v in head["user_float"]),
    )
