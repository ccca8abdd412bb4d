"""Lines -> `KSpaceSlice`, one slice in memory at a time; 3-D scans -> `KSpaceVolume`.

Calibration lines of the same encoding are lines like any other; lines measured more than once are
averaged. There is one assembler for the file, the bucket and raw lines.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..calibration.acs import find_acs
from ..calibration.calibrate import CalibrationSettings
from ..geometry import (
    AcquisitionStamp,
    Counters,
    Encoding,
    KSpaceSlice,
    KSpaceVolume,
    SliceGeometry,
    Vector,
)
from .acs import read_acs
from .calibration_lines import (
    MAX_REPETITIONS,
    MIN_LINES,
    SEPARATE,
    CalibrationLines,
    calibration_size,
)
from .errors import BadSamples, BadScan
from .lines import LineSource
from .noise import NoiseData, Whitening, make_whitening, read_noise
from .placement import Grid, line_counts
from .plan import ScanPlan
from .reader import LineReader
from .readout import lr_readout_size, readout_size
from .volume import hybrid_acs, read_hybrid


@dataclass
class ScanMemory:
    """What the images of a scan share: whitening, ACS by slice; outlives the plan of a live scan.

    `whitening` is a tuple of one once it is known, for it may be known that there is none.
    """

    whitening: tuple[Whitening | None] | None = None
    acs: dict[Any, Tensor] = field(default_factory=dict)


class Assembler:
    """Iterates over the slices of a planned scan.

    Parameters
    ----------
    prewhiten
        False leaves noise lines unused.
    noise
        Noise of an earlier scan, used instead of the scan's own.
    n_virtual_coils
        Coils of a 3-D scan are compressed to so many while it is read.
    memory
        Of earlier lines of the same scan, where the plan covers the later ones only.
    """

    def __init__(
        self,
        source: LineSource,
        plan: ScanPlan,
        *,
        prewhiten: bool = True,
        noise: NoiseData | None = None,
        n_virtual_coils: int = CalibrationSettings.n_virtual_coils,
        memory: ScanMemory | None = None,
    ) -> None:
        self.source = source
        self.plan = plan
        self._memory = memory or ScanMemory()
        if self._memory.whitening is None:
            made = _scan_whitening(source, plan, noise) if prewhiten else None
            self._memory.whitening = (made,)
        (self.whitening,) = self._memory.whitening
        self.reader = LineReader(source, self.whitening)
        self.n_virtual_coils = n_virtual_coils

    def __len__(self) -> int:
        return len(self.plan.groups)

    @property
    def n_steps(self) -> int:
        """Pieces of work: slices, and the readout positions of volumes."""
        encoding = self.plan.encoding
        return len(self) * (readout_size(encoding) if encoding.is_3d else 1)

    def __iter__(self) -> Iterator[KSpaceSlice | KSpaceVolume]:
        for counters in self.plan.groups:
            yield self.assemble(counters)

    def is_settled(self, counters: Counters) -> bool:
        """Whether later lines cannot change what calibrates this image."""
        chosen = self.plan.calibration.get(counters.slice)
        if counters.slice in self._memory.acs or chosen is None:
            return True
        encoding = self.plan.encoding
        if encoding.calibration_mode in SEPARATE or chosen.kind == "reference":
            return chosen.kind == "reference"
        if min(calibration_size(self.source.heads, chosen, encoding)) >= MIN_LINES:
            return True
        seen = {c.repetition for c in self.plan.groups if c.slice == counters.slice}
        return len(seen) >= MAX_REPETITIONS

    def lines_of(self, counters: Counters) -> np.ndarray:
        """Return the indices of all lines that have a part in an image, in their order."""
        chosen = self.plan.calibration.get(counters.slice)
        parts = [self.plan.noise, self.plan.groups[counters]]
        return np.unique(np.concatenate(parts + ([chosen.lines] if chosen else [])))

    def assemble(self, counters: Counters) -> KSpaceSlice | KSpaceVolume:
        """Return one slice, or the volume of a 3-D scan.

        Raises
        ------
        BadSamples
            Samples that are not finite; it carries the slice without the lines concerned.
        UnsupportedScan
            Lines that do not fit the encoded matrix.
        """
        encoding, lines = self.plan.encoding, self.plan.groups[counters]
        line_counts(self.source.heads[lines], encoding)
        make = self._volume if encoding.is_3d else self._slice
        made, finite = make(counters, lines)
        if not finite.all():
            n_bad = int((~finite).sum())
            raise BadSamples(f"NaN or infinite samples in {n_bad} of {len(lines)} lines", made)
        return made

    def _slice(self, counters: Counters, lines: np.ndarray) -> tuple[KSpaceSlice, np.ndarray]:
        encoding = self.plan.encoding
        total, finite = self.reader.sum(lines, Grid.of(encoding), encoding)
        heads = self._good_heads(counters, lines, finite)
        counts = line_counts(heads, encoding)
        kspace = total.movedim(0, 1).contiguous() / (counts.clamp_min(1) / self._lr_scale)
        mask = (counts > 0).to(torch.float32)
        shared = self._shared_acs(counters.slice)
        acs = cut_acs_or_nothing(kspace, mask) if shared is None else shared
        slice_ = KSpaceSlice(
            kspace, mask, acs, is_acs_shared=shared is not None, **self._about(counters, heads)
        )
        noise_std, lr_readout = self._noise_std(counts), lr_readout_size(encoding)
        return replace(slice_, noise_std=noise_std, lr_readout=lr_readout), finite

    def _volume(self, counters: Counters, lines: np.ndarray) -> tuple[KSpaceVolume, np.ndarray]:
        encoding = self.plan.encoding
        acs = self._shared_acs(counters.slice)
        if acs is None:
            own = CalibrationLines("own", lines, encoding, Grid.of(encoding))
            acs = read_acs(self.reader, own, encoding)
        acs, compressor = hybrid_acs(acs, self.n_virtual_coils)
        hybrid, counts, finite = read_hybrid(self.reader, lines, encoding, compressor)
        heads = self._good_heads(counters, lines, finite)
        mask = (counts > 0).to(torch.float32)
        volume = KSpaceVolume(hybrid, mask, acs, **self._about(counters, heads))
        # An ACS of several averages has less noise than one line.
        one_line = self.whitening.noise_std if self.whitening else None
        noise_std = self._noise_std(counts)
        return replace(volume, noise_std=noise_std, acs_noise_std=one_line), finite

    def _good_heads(self, counters: Counters, lines: np.ndarray, finite: np.ndarray) -> np.ndarray:
        if not finite.any():
            raise BadScan(f"NaN or infinite samples in every line of slice {counters.slice}")
        return self.source.heads[lines[finite]]

    def _about(self, counters: Counters, heads: np.ndarray) -> dict:
        central = heads[Grid.of(self.plan.encoding).nearest_center(heads)]
        return {
            "geometry": slice_geometry(central, self.plan.encoding),
            "counters": counters,
            "stamp": acquisition_stamp(central),
        }

    def _shared_acs(self, number: int) -> Tensor | None:
        """ACS that all images of a slice share, read once; None where each has its own."""
        if number not in self.plan.calibration:
            return None
        if number not in self._memory.acs:
            chosen = self.plan.calibration[number]
            acs = read_acs(self.reader, chosen, self.plan.encoding)
            self._memory.acs[number] = acs if self._lr_scale == 1 else self._lr_scale * acs
        return self._memory.acs[number]

    @property
    def _lr_scale(self) -> float:
        """Factor on k-space that keeps the image's scale on the LR grid of an HR readout."""
        encoding = self.plan.encoding
        lr_readout = lr_readout_size(encoding)
        return 1.0 if lr_readout is None else (lr_readout / readout_size(encoding)) ** 0.5

    def _noise_std(self, counts: Tensor) -> float | None:
        """Root mean square over the measured samples; n averages divide the variance by n."""
        if self.whitening is None:
            return None
        per_line = self._lr_scale * self.whitening.noise_std
        return per_line * float(counts[counts > 0].reciprocal().mean().sqrt())


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
