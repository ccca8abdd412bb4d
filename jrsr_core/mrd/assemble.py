"""Lines -> `KSpaceSlice`, one slice in memory at a time; 3-D scans -> `KSpaceVolume`.

Calibration lines of the same encoding are lines like any other; lines measured more than once are
averaged. There is one assembler for the file, the bucket and raw lines.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..calibration.acs import find_acs
from ..calibration.calibrate import CalibrationSettings
from ..calibration.compression import CoilCompressor
from ..geometry import (
    AcquisitionStamp,
    Counters,
    Encoding,
    KSpaceSlice,
    KSpaceVolume,
    SliceGeometry,
    Vector,
)
from .acs import acs_of_block, read_acs, read_block
from .calibration_lines import CalibrationLines
from .errors import BadSamples, BadScan
from .lines import LineSource
from .noise import NoiseData, Whitening, dwell_factor, make_whitening, read_noise
from .placement import Grid, line_counts
from .plan import ScanPlan
from .reader import LineReader
from .readout import lr_readout_size, lr_scale, measured_share, readout_size
from .volume import hybrid_acs, read_hybrid


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
    """

    def __init__(
        self,
        source: LineSource,
        plan: ScanPlan,
        *,
        prewhiten: bool = True,
        noise: NoiseData | None = None,
        n_virtual_coils: int = CalibrationSettings.n_virtual_coils,
    ) -> None:
        self.source = source
        self.plan = plan
        self.whitening = _scan_whitening(source, plan, noise) if prewhiten else None
        self.reader = LineReader(source, self.whitening)
        self.n_virtual_coils = n_virtual_coils
        self._acs: dict[tuple[int, int], Tensor] = {}
        self._hybrid: dict[tuple[int, int], tuple[Tensor, CoilCompressor | None]] = {}
        self._block: tuple[tuple, Tensor] | None = None

    def __len__(self) -> int:
        return len(self.plan.groups)

    @property
    def n_steps(self) -> int:
        """Pieces of work: slices, and the readout positions of volumes."""
        encodings = map(self.plan.encoding_of, self.plan.groups)
        return sum(readout_size(e) if e.is_3d else 1 for e in encodings)

    def __iter__(self) -> Iterator[KSpaceSlice | KSpaceVolume]:
        for counters in self.plan.groups:
            yield self.assemble(counters)

    def assemble(self, counters: Counters) -> KSpaceSlice | KSpaceVolume:
        """Return one slice, or the volume of a 3-D scan.

        Raises
        ------
        BadSamples
            Samples that are not finite; it carries the slice without the lines concerned.
        UnsupportedScan
            Lines that do not fit the encoded matrix.
        """
        encoding, lines = self.plan.encoding_of(counters), self.plan.groups[counters]
        line_counts(self.source.heads[lines], encoding)
        make = self._volume if encoding.is_3d else self._slice
        made, finite = make(counters, lines)
        if not finite.all():
            n_bad = int((~finite).sum())
            raise BadSamples(f"NaN or infinite samples in {n_bad} of {len(lines)} lines", made)
        return made

    def _slice(self, counters: Counters, lines: np.ndarray) -> tuple[KSpaceSlice, np.ndarray]:
        encoding = self.plan.encoding_of(counters)
        total, finite = self.reader.sum(lines, Grid.of(encoding), encoding)
        heads = self._good_heads(counters, lines, finite)
        counts = line_counts(heads, encoding)
        scale = lr_scale(encoding)
        kspace = total.movedim(0, 1).contiguous() / (counts.clamp_min(1) / scale)
        mask = (counts > 0).to(torch.float32)
        shared = self._shared_acs(counters)
        slice_ = KSpaceSlice(
            kspace,
            mask,
            acs=cut_acs_or_nothing(kspace, mask) if shared is None else shared,
            is_acs_shared=shared is not None,
            lr_readout=lr_readout_size(encoding),
            **self._about(counters, heads),
        )
        return replace(slice_, noise_std=self._noise_std(counts, heads, scale)), finite

    def _volume(self, counters: Counters, lines: np.ndarray) -> tuple[KSpaceVolume, np.ndarray]:
        encoding = self.plan.encoding_of(counters)
        acs, compressor, is_shared = self._hybrid_acs(counters, lines)
        hybrid, counts, finite = read_hybrid(self.reader, lines, encoding, compressor)
        heads = self._good_heads(counters, lines, finite)
        mask = (counts > 0).to(torch.float32)
        about = self._about(counters, heads)
        volume = KSpaceVolume(hybrid, mask, acs, is_acs_shared=is_shared, **about)
        # Samples that an asymmetric echo lacks are zero, and without noise.
        share = measured_share(heads, encoding) ** 0.5
        noise_std = self._noise_std(counts, heads, share)
        # An ACS of several averages has less noise than one line.
        one_line = self._noise_std(torch.ones(1), heads, 1.0)
        return replace(volume, noise_std=noise_std, acs_noise_std=one_line), finite

    def _hybrid_acs(
        self, counters: Counters, lines: np.ndarray
    ) -> tuple[Tensor, CoilCompressor | None, bool]:
        """ACS in hybrid space, its compression, and whether other volumes have the same."""
        key, encoding = (counters.encoding, counters.slice), self.plan.encoding_of(counters)
        if key not in self.plan.calibration:
            own = CalibrationLines("own", lines, encoding, Grid.of(encoding))
            acs = read_acs(self.reader, own, encoding)
            return *hybrid_acs(acs, self.n_virtual_coils), False
        if key not in self._hybrid:
            self._hybrid[key] = hybrid_acs(self._shared_acs(counters), self.n_virtual_coils)
        return *self._hybrid[key], True

    def _good_heads(self, counters: Counters, lines: np.ndarray, finite: np.ndarray) -> np.ndarray:
        if not finite.any():
            raise BadScan(f"NaN or infinite samples in every line of slice {counters.slice}")
        return self.source.heads[lines[finite]]

    def _about(self, counters: Counters, heads: np.ndarray) -> dict:
        encoding = self.plan.encoding_of(counters)
        central = heads[Grid.of(encoding).nearest_center(heads)]
        return {
            "geometry": slice_geometry(central, encoding),
            "counters": counters,
            "stamp": acquisition_stamp(central),
        }

    def _shared_acs(self, counters: Counters) -> Tensor | None:
        """ACS that all images of a slice share, read once; None where each has its own."""
        key = (counters.encoding, counters.slice)
        if key not in self.plan.calibration:
            return None
        if key not in self._acs:
            chosen, encoding = self.plan.calibration[key], self.plan.encoding_of(counters)
            block = self._read_block(chosen, encoding)
            acs = acs_of_block(block, chosen, encoding) if block.numel() else block
            self._acs[key] = acs if lr_scale(encoding) == 1 else lr_scale(encoding) * acs
        return self._acs[key]

    def _read_block(self, chosen: CalibrationLines, encoding: Encoding) -> Tensor:
        """Read calibration lines; the last block is kept, for the slices of one volume."""
        key = (chosen.kind, chosen.grid, *chosen.lines[[0, -1]], len(chosen.lines))
        if self._block is None or self._block[0] != key:
            self._block = (key, read_block(self.reader, chosen, encoding))
        return self._block[1]

    def _noise_std(self, counts: Tensor, heads: np.ndarray, scale: float) -> float | None:
        """Root mean square over the measured samples; n averages divide the variance by n."""
        if self.whitening is None:
            return None
        scale *= dwell_factor(self._first_dwell_us, float(heads["sample_time_us"][0]))
        one = scale * self.whitening.noise_std
        return one * float(counts[counts > 0].reciprocal().mean().sqrt())

    @property
    def _first_dwell_us(self) -> float:
        """Dwell time that the whitening is made for."""
        return float(self.source.heads["sample_time_us"][next(iter(self.plan.groups.values()))[0]])


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
