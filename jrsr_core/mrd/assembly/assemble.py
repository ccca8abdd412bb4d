"""Lines -> `KSpaceSlice`, one slice in memory at a time; 3-D scans -> `KSpaceVolume`.

A sample is the mean of the lines that measured it. Calibration lines of the same encoding space are
lines like any other. Files, buckets and raw lines are assembled by the same class.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from jrsr_core.calibration.loud_coils import weighted
from jrsr_core.calibration.settings import CalibrationSettings
from jrsr_core.data import Counters, KSpaceSlice, KSpaceVolume
from jrsr_core.data.origin import VOLUME_COUNTERS
from jrsr_core.mrd.acs.choose import MAX_REPETITIONS
from jrsr_core.mrd.acs.lines import MIN_LINES
from jrsr_core.mrd.errors import BadSamples, ContradictoryLines, IncompleteImage
from jrsr_core.mrd.lines.acquired import LineSource
from jrsr_core.mrd.lines.geometry import acquisition_stamp, slice_geometry
from jrsr_core.mrd.lines.grid import central_line, check_lines, line_counts
from jrsr_core.mrd.lines.readout import measured_share
from jrsr_core.mrd.lines.time_stamps import first_time_stamp
from jrsr_core.mrd.noise.measured import NoiseData, noise_for_whitening
from jrsr_core.mrd.noise.whitening import make_whitening
from jrsr_core.mrd.planning.plan import ScanPlan

from .accumulate import BrokenCoils, LineReader
from .averages import AveragedLines, sum_averages
from .hybrid import read_hybrid
from .image_notes import image_notes
from .line_sums import LineSums
from .sampling import with_sampling
from .shared import SharedState
from .shared_acs import SharedAcs


class Assembler:
    """Iterates over the slices of a planned scan.

    Parameters
    ----------
    prewhiten
        Whether noise data are used; without it channels stay as they are.
    noise
        Noise of an earlier scan, used instead of the scan's own.
    n_virtual_coils
        Number of coils to which a 3-D scan is compressed while it is read.
    shared
        Memory of an earlier assembler of the same scan, whose plan covered earlier lines.

    Attributes
    ----------
    whitening
        None where there are no noise data.
    """

    def __init__(
        self,
        source: LineSource,
        plan: ScanPlan,
        *,
        prewhiten: bool = True,
        noise: NoiseData | None = None,
        n_virtual_coils: int = CalibrationSettings.n_virtual_coils,
        shared: SharedState | None = None,
    ) -> None:
        self.source = source
        self.plan = plan
        self._shared = shared or SharedState()
        self._prewhiten, self._earlier_noise = prewhiten, noise
        self.n_virtual_coils = n_virtual_coils
        self._leave_out(plan.broken_coils)

    def _leave_out(self, coils: frozenset[int]) -> None:
        """Leave out broken channels, those known before as well, and prepare to read the others."""
        shared = self._shared
        if coils - shared.broken_coils:
            shared.broken_coils |= coils
            shared.is_whitening_known = False
            for known in (shared.acs, shared.weights, shared.hybrid):
                known.clear()
        if not shared.is_whitening_known:
            if self._prewhiten:
                self._find_whitening()
            shared.is_whitening_known = True
        self.whitening = shared.whitening
        channels = shared.channels(self.plan.n_coils) if shared.broken_coils else None
        self.reader = LineReader(self.source, self.whitening, channels)
        # Noise data tell the coils apart; without them the loud ones are found in the ACS.
        weigh = self._prewhiten and self.whitening is None
        self._acs = SharedAcs(self.reader, self.plan, shared, weigh=weigh)

    def _find_whitening(self) -> None:
        """Find the whitening for the dwell time of the first image line."""
        plan, shared = self.plan, self._shared
        noise, shared.noise_note = noise_for_whitening(
            self.source, plan, shared.broken_coils, self._earlier_noise
        )
        shared.whitening = None
        if noise is not None:
            first_image = next(iter(plan.groups.values()))[0]
            dwell_us = float(self.source.heads["sample_time_us"][first_image])
            shared.whitening = make_whitening(noise, dwell_us)

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
        key = self.plan.acs_keys[counters]
        chosen = self.plan.calibration[key]
        if key in self._shared.acs or chosen.is_reference:
            return True
        if chosen.image.has_reference_scan:
            return False
        if min(chosen.acs_size(self.source.heads)) >= MIN_LINES:
            return True
        sharing = (c for c, other in self.plan.acs_keys.items() if other == key)
        return len({c.repetition for c in sharing}) >= MAX_REPETITIONS

    def lines_of(self, counters: Counters) -> np.ndarray:
        """Return the indices of all lines that have a part in an image, in their order."""
        calibration = self.plan.calibration[self.plan.acs_keys[counters]].lines
        parts = (self.plan.noise, calibration, self.plan.groups[counters])
        return np.unique(np.concatenate(parts))

    def assemble(self, counters: Counters) -> KSpaceSlice | KSpaceVolume:
        """Return one slice, or the volume of a 3-D scan.

        Raises
        ------
        BadSamples
            Samples that are not finite; it carries the slice without the lines concerned.
        ContradictoryLines
            Lines of one place that differ far more than their noise; it carries the slice of one
            line of every place.
        IncompleteImage
            The measurement broke off; it carries the slice of the lines that are there.
        UnsupportedScan
            Lines that do not fit the encoded matrix.
        """
        while True:
            try:
                return self._assemble(counters)
            except BrokenCoils as error:
                self._leave_out(frozenset(error.coils))

    def _assemble(self, counters: Counters) -> KSpaceSlice | KSpaceVolume:
        layout, lines = self.plan.layout_of(counters), self.plan.groups[counters]
        check_lines(self.source.heads[lines], layout.encoding)
        make = self._volume if layout.encoding.is_3d else self._slice
        made, averaged = make(counters, lines)
        if n_bad := int((~averaged.summed.finite).sum()):
            raise BadSamples(f"NaN or infinite samples in {n_bad} of {len(lines)} lines", made)
        if averaged.contradiction:
            raise ContradictoryLines(averaged.contradiction, made)
        if reason := self.plan.incomplete.get(counters):
            raise IncompleteImage(reason, made)
        return made

    def _slice(self, counters: Counters, lines: np.ndarray) -> tuple[KSpaceSlice, AveragedLines]:
        layout = self.plan.layout_of(counters)
        encoding, scale = layout.encoding, layout.encoding.lr_scale
        averaged = sum_averages(LineSums.of_samples(self.reader, lines, layout, encoding.grid))
        total = averaged.summed.total
        heads = self.source.heads[lines[averaged.summed.measured]]
        counts = torch.from_numpy(line_counts(heads, layout))
        kspace = total.movedim(0, 1).contiguous() / (counts.clamp_min(1) / scale)
        acs, weights = self._acs.of(counters), self._acs.weights(counters)
        slice_ = KSpaceSlice(
            weighted(kspace, weights),
            mask=(counts > 0).to(torch.float32),
            acs=acs,
            noise_std=self._noise_std(counts, heads, scale),
            lr_readout=encoding.lr_readout_size,
            **self._about(counters, lines, averaged),
        )
        return slice_, averaged

    def _volume(self, counters: Counters, lines: np.ndarray) -> tuple[KSpaceVolume, AveragedLines]:
        layout = self.plan.layout_of(counters)
        acs, compressor = self._acs.hybrid(counters, self.n_virtual_coils)
        weights = self._acs.weights(counters)
        hybrid, counts, averaged = read_hybrid(self.reader, lines, layout, compressor, weights)
        heads = self.source.heads[lines[averaged.summed.measured]]
        volume = KSpaceVolume(
            hybrid,
            mask=(counts > 0).to(torch.float32),
            acs=acs,
            # Samples that an asymmetric echo lacks are zero, and without noise.
            noise_std=self._noise_std(counts, heads, measured_share(heads, layout) ** 0.5),
            # That of one line; an ACS of several averages has less.
            acs_noise_std=self._noise_std(torch.ones(1), heads, 1.0),
            **self._about(counters, lines, averaged),
        )
        return volume, averaged

    def _about(self, counters: Counters, lines: np.ndarray, averaged: AveragedLines) -> dict:
        encoding, finite = self.plan.encoding_of(counters), averaged.summed.finite
        heads = self.source.heads[lines[finite] if finite.any() else lines]
        nearest = central_line(heads, encoding.grid)
        central = heads[nearest]
        stamp = acquisition_stamp(central, first_time_stamp(heads["acquisition_time_stamp"]))
        used = self.source.heads[lines[averaged.summed.measured]]
        layout = self.plan.layout_of(counters)
        return {
            "geometry": slice_geometry(central, encoding),
            "counters": counters,
            "is_acs_shared": self._is_acs_shared(counters),
            "is_assembled": True,
            "stamp": with_sampling(stamp, used, heads[[nearest]], layout),
            "notes": image_notes(self.plan, self._shared, counters, averaged),
        }

    def _is_acs_shared(self, counters: Counters) -> bool:
        """Whether there are, or will be, other images of the slice, which use the same maps."""
        maxima = self.plan.encoding_of(counters).counter_maxima
        if any(maxima.get(name) for name in VOLUME_COUNTERS):
            return True
        return sum(c.slice_key == counters.slice_key for c in self.plan.groups) > 1

    def _noise_std(self, counts: Tensor, heads: np.ndarray, scale: float) -> float | None:
        """Return the root mean square over the measured samples; n averages give 1/n variance."""
        if self.whitening is None or not len(heads):
            return None
        scale *= self.whitening.dwell_factor(float(heads["sample_time_us"][0]))
        one = scale * self.whitening.noise_std
        return one * float(counts[counts > 0].reciprocal().mean().sqrt())
