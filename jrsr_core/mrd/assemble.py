"""Lines -> `KSpaceSlice`, one slice in memory at a time; 3-D scans -> `KSpaceVolume`.

Calibration lines of the same encoding are lines like any other; lines measured more than once are
averaged. There is one assembler for the file, the bucket and raw lines.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from jrsr_core.calibration.compression import CoilCompressor
from jrsr_core.calibration.settings import CalibrationSettings
from jrsr_core.data import (
    AcquisitionStamp,
    Counters,
    Encoding,
    KSpaceSlice,
    KSpaceVolume,
    SliceGeometry,
    Vector,
)
from jrsr_core.mrd.acs.lines import (
    MAX_REPETITIONS,
    MIN_LINES,
    SEPARATE,
    CalibrationLines,
    calibration_size,
)
from jrsr_core.mrd.acs.read import acs_of_block, read_block

from .accumulate import LineReader
from .errors import BadSamples
from .grid import central_line, line_counts
from .hybrid import hybrid_acs, read_hybrid
from .lines import LineSource
from .noise import NoiseData, Whitening, dwell_factor, make_whitening, read_noise
from .plan import ScanPlan
from .readout import measured_share


@dataclass
class ScanMemory:
    """What the images of a scan share: whitening, ACS by slice; outlives the plan of a live scan.

    `whitening` is a tuple of one once it is known, for it may be known that there is none;
    `dwell_us` is the dwell time it is made for. ACS and hybrid ACS go by (encoding space, slice).
    """

    whitening: tuple[Whitening | None] | None = None
    dwell_us: float = 0.0
    acs: dict[tuple[int, int], Tensor] = field(default_factory=dict)
    hybrid: dict[tuple[int, int], tuple[Tensor, CoilCompressor | None]] = field(
        default_factory=dict
    )


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
            first_image = next(iter(plan.groups.values()))[0]
            dwell_us = float(source.heads["sample_time_us"][first_image])
            made = _scan_whitening(source, plan, noise, dwell_us) if prewhiten else None
            self._memory.whitening, self._memory.dwell_us = (made,), dwell_us
        (self.whitening,) = self._memory.whitening
        self.reader = LineReader(source, self.whitening)
        self.n_virtual_coils = n_virtual_coils
        self._block: tuple[tuple, Tensor] | None = None

    def __len__(self) -> int:
        return len(self.plan.groups)

    @property
    def n_steps(self) -> int:
        """Pieces of work: slices, and the readout positions of volumes."""
        encodings = map(self.plan.encoding_of, self.plan.groups)
        return sum(e.readout_size if e.is_3d else 1 for e in encodings)

    def __iter__(self) -> Iterator[KSpaceSlice | KSpaceVolume]:
        for counters in self.plan.groups:
            yield self.assemble(counters)

    def is_settled(self, counters: Counters) -> bool:
        """Whether later lines cannot change what calibrates this image."""
        key, encoding = (counters.encoding, counters.slice), self.plan.encoding_of(counters)
        chosen = self.plan.calibration[key]
        if key in self._memory.acs or chosen.kind in ("reference", "volume"):
            return True
        if encoding.calibration_mode in SEPARATE:
            return False
        if min(calibration_size(self.source.heads, chosen, encoding)) >= MIN_LINES:
            return True
        same_slice = (c for c in self.plan.groups if (c.encoding, c.slice) == key)
        return len({c.repetition for c in same_slice}) >= MAX_REPETITIONS

    def lines_of(self, counters: Counters) -> np.ndarray:
        """Return the indices of all lines that have a part in an image, in their order."""
        calibration = self.plan.calibration[counters.encoding, counters.slice].lines
        parts = (self.plan.noise, calibration, self.plan.groups[counters])
        return np.unique(np.concatenate(parts))

    def assemble(self, counters: Counters) -> KSpaceSlice | KSpaceVolume:
        """Return one slice, or the volume of a 3-D scan.

        Raises
        ------
        BadSamples
            Samples that are not finite; it carries the slice without the lines concerned.
        UnsupportedScan
            Lines that do not fit the encoded matrix.
        """
        layout, lines = self.plan.layout_of(counters), self.plan.groups[counters]
        line_counts(self.source.heads[lines], layout)
        make = self._volume if layout.encoding.is_3d else self._slice
        made, finite = make(counters, lines)
        if not finite.all():
            n_bad = int((~finite).sum())
            raise BadSamples(f"NaN or infinite samples in {n_bad} of {len(lines)} lines", made)
        return made

    def _slice(self, counters: Counters, lines: np.ndarray) -> tuple[KSpaceSlice, np.ndarray]:
        layout = self.plan.layout_of(counters)
        encoding, scale = layout.encoding, layout.encoding.lr_scale
        total, finite = self.reader.sum(lines, encoding.grid, layout)
        heads = self.source.heads[lines[finite]]
        counts = torch.from_numpy(line_counts(heads, layout))
        kspace = total.movedim(0, 1).contiguous() / (counts.clamp_min(1) / scale)
        mask = (counts > 0).to(torch.float32)
        slice_ = KSpaceSlice(
            kspace,
            mask,
            acs=self._shared_acs(counters),
            lr_readout=encoding.lr_readout_size,
            **self._about(counters, lines, finite),
        )
        return replace(slice_, noise_std=self._noise_std(counts, heads, scale)), finite

    def _volume(self, counters: Counters, lines: np.ndarray) -> tuple[KSpaceVolume, np.ndarray]:
        layout = self.plan.layout_of(counters)
        acs, compressor = self._hybrid_acs(counters)
        hybrid, counts, finite = read_hybrid(self.reader, lines, layout, compressor)
        heads = self.source.heads[lines[finite]]
        mask = (counts > 0).to(torch.float32)
        about = self._about(counters, lines, finite)
        volume = KSpaceVolume(hybrid, mask, acs, **about)
        # Samples that an asymmetric echo lacks are zero, and without noise.
        share = measured_share(heads, layout) ** 0.5
        noise_std = self._noise_std(counts, heads, share)
        # An ACS of several averages has less noise than one line.
        one_line = self._noise_std(torch.ones(1), heads, 1.0)
        return replace(volume, noise_std=noise_std, acs_noise_std=one_line), finite

    def _hybrid_acs(self, counters: Counters) -> tuple[Tensor, CoilCompressor | None]:
        """ACS in hybrid space, and its compression, found once for all volumes of a slab."""
        key, known = (counters.encoding, counters.slice), self._memory.hybrid
        if key not in known:
            known[key] = hybrid_acs(self._shared_acs(counters), self.n_virtual_coils)
        return known[key]

    def _about(self, counters: Counters, lines: np.ndarray, finite: np.ndarray) -> dict:
        encoding = self.plan.encoding_of(counters)
        heads = self.source.heads[lines[finite] if finite.any() else lines]
        central = heads[central_line(heads, encoding.grid)]
        return {
            "geometry": slice_geometry(central, encoding),
            "counters": counters,
            "is_acs_shared": self._is_acs_shared(counters),
            "stamp": acquisition_stamp(central),
        }

    def _is_acs_shared(self, counters: Counters) -> bool:
        """Whether other images of the slice have come or are announced: their maps are kept."""
        maxima = self.plan.encoding_of(counters).counter_maxima
        if any(maxima.get(name) for name in ("contrast", "phase", "repetition", "set")):
            return True
        key = (counters.encoding, counters.slice)
        return sum((c.encoding, c.slice) == key for c in self.plan.groups) > 1

    def _shared_acs(self, counters: Counters) -> Tensor:
        """ACS that all images of a slice share, read once."""
        key, known = (counters.encoding, counters.slice), self._memory.acs
        if key not in known:
            chosen, encoding = self.plan.calibration[key], self.plan.encoding_of(counters)
            block = self._read_block(chosen, encoding)
            acs = acs_of_block(block, chosen, encoding) if block.numel() else block
            known[key] = acs if encoding.lr_scale == 1 else encoding.lr_scale * acs
        return known[key]

    def _read_block(self, chosen: CalibrationLines, encoding: Encoding) -> Tensor:
        """Read calibration lines; the last block is kept, for the slices of one volume."""
        key = (chosen.kind, chosen.grid, *chosen.lines[[0, -1]], len(chosen.lines))
        if self._block is None or self._block[0] != key:
            self._block = (key, read_block(self.reader, chosen, encoding))
        return self._block[1]

    def _noise_std(self, counts: Tensor, heads: np.ndarray, scale: float) -> float | None:
        """Root mean square over the measured samples; n averages divide the variance by n."""
        if self.whitening is None or not len(heads):
            return None
        scale *= dwell_factor(self._memory.dwell_us, float(heads["sample_time_us"][0]))
        one = scale * self.whitening.noise_std
        return one * float(counts[counts > 0].reciprocal().mean().sqrt())


def _scan_whitening(
    source: LineSource, plan: ScanPlan, earlier: NoiseData | None, dwell_us: float
) -> Whitening | None:
    noise = earlier or read_noise(source, plan.noise, plan.header.noise_bandwidth)
    if noise is None:
        return None
    return make_whitening(noise, dwell_us, plan.n_coils)


def _vector(record: np.void, name: str) -> Vector:
    return tuple(float(v) for v in record[name])


def slice_geometry(head: np.void, encoding: Encoding) -> SliceGeometry:
    """Where the acquired image lies: readout oversampling removed, phase oversampling not."""
    axes = _axes(head)
    fov_z = (encoding.encoding_fov_mm if encoding.is_3d else encoding.recon_fov_mm)[0]
    _, *fov_yx = encoding.acquired_fov_mm
    return SliceGeometry(
        position_mm=_vector(head, "position"),
        read_dir=axes[0],
        phase_dir=axes[1],
        slice_dir=axes[2],
        fov_mm=(fov_z, *fov_yx),
        patient_table_position_mm=_vector(head, "patient_table_position"),
    )


def _axes(head: np.void) -> list[Vector]:
    """Read, phase and slice direction; one that is empty follows from the others."""
    axes = [_vector(head, name) for name in ("read_dir", "phase_dir", "slice_dir")]
    missing = [i for i, axis in enumerate(axes) if not any(axis)]
    if len(missing) > 1:
        # Simulated files leave the directions empty; an image needs some.
        return [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)]
    for i in missing:
        product = np.cross(axes[(i + 1) % 3], axes[(i + 2) % 3])
        axes[i] = tuple(float(v) for v in product)
    return axes


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
