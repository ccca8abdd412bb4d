"""Lines -> readouts, a block at a time: checked, whitened, brought to one grid, added up.

The crop of a readout from N samples to n is done in the image: IFFT over N, centre n, FFT over n;
index N//2 stays the centre n//2. With orthonormal transforms image values and the noise per sample
are unchanged.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor

from jrsr_core.calibration.whitening import whiten
from jrsr_core.mrd.header.encoding import PhaseEncodeGrid
from jrsr_core.mrd.lines.acquired import LINES_AT_ONCE, LineSource
from jrsr_core.mrd.lines.broken import broken_channels
from jrsr_core.mrd.lines.grid import line_places
from jrsr_core.mrd.lines.readout import LineLayout, Readout, plan_readout, readout_kinds
from jrsr_core.mrd.noise.whitening import Whitening
from jrsr_core.physics.fourier import fft, ifft
from jrsr_core.physics.resolution import crop_or_pad


class BrokenCoils(Exception):
    """Channels without usable samples; what was read has to be read again without them."""

    def __init__(self, coils: list[int]) -> None:
        super().__init__(f"channels {coils} are not finite")
        self.coils = coils


class LineState(IntEnum):
    """What became of a line: outside the grid or set aside, not finite, zeros alone, or used."""

    LEFT_OUT = 0
    BROKEN = 1
    EMPTY = 2
    USED = 3


@dataclass(frozen=True, eq=False)
class SummedLines:
    """Lines added up by their place.

    Attributes
    ----------
    total
        complex64 ``(ny * nz, coil, nx)``, or what the transform makes of it.
    power
        Sum of |x|^2 over the lines of each place that several lines measured, float64
        ``(ny * nz,)``; 0 elsewhere.
    states
        `LineState` of every line.
    """

    total: Tensor
    power: Tensor
    states: np.ndarray

    @property
    def finite(self) -> np.ndarray:
        """Boolean per line: whether no sample of it is NaN or infinite."""
        return self.states != LineState.BROKEN

    @property
    def measured(self) -> np.ndarray:
        """Boolean per line: whether it has a part in the total.

        Zeros alone were not measured, unless there is nothing else.
        """
        used = self.states == LineState.USED
        return used if used.any() else self.states == LineState.EMPTY

    @property
    def n_empty(self) -> int:
        """Number of lines of zeros alone, which count as not measured."""
        is_empty = self.states == LineState.EMPTY
        return int((is_empty & ~self.measured).sum())


@dataclass(frozen=True, eq=False)
class LineReader:
    """Reads the lines of a source and whitens them where `whitening` is not None.

    `channels` are those that are read, None for all.
    """

    source: LineSource
    whitening: Whitening | None
    channels: list[int] | None = None

    def n_coils(self, line: int) -> int:
        """Return the number of coils of what is read of a line."""
        n_coils = int(self.source.heads["active_channels"][line])
        return n_coils if self.channels is None else len(self.channels)

    def sum(
        self,
        lines: np.ndarray,
        grid: PhaseEncodeGrid,
        layout: LineLayout,
        transform: Callable[[Tensor], Tensor] = lambda readouts: readouts,
        factors: Tensor | None = None,
    ) -> SummedLines:
        """Add up the lines of every place; those outside the grid or not finite are left out.

        Parameters
        ----------
        lines
            Indices into the source.
        grid
            Phase-encode plane on which they lie.
        layout
            Encoding space of the lines.
        transform
            Applied to every block ``(line, coil, nx)`` before it is added.
        factors
            complex64 ``(line,)`` by which the lines are multiplied.

        Raises
        ------
        BrokenCoils
            There are `broken_channels`.
        """
        heads = self.source.heads[lines]
        places = line_places(heads, grid)
        states = np.full(len(lines), LineState.LEFT_OUT, np.int8)
        is_repeated = np.bincount(places[places >= 0], minlength=grid.ny * grid.nz) > 1
        total = self._nothing(lines, grid, layout, transform)
        power = torch.zeros(len(total), dtype=torch.float64)
        for members, readouts, found in self._blocks(lines, np.flatnonzero(places >= 0), layout):
            states[members] = found
            good = members[found != LineState.BROKEN]
            if factors is not None:
                readouts = readouts * factors[good, None, None]
            where, added = torch.from_numpy(places[good]), transform(readouts)
            total.index_add_(0, where, added)
            if (again := is_repeated[places[good]]).any():
                power.index_add_(0, where[again], squares(added[again]).sum(1))
        return SummedLines(total, power, states)

    def noise_power(self, heads: np.ndarray) -> float | None:
        """Return E|n|^2 of a sample of these lines, None where it is not known."""
        if self.whitening is None or not len(heads):
            return None
        dwell_us = float(heads["sample_time_us"][0])
        return (self.whitening.noise_std * self.whitening.dwell_factor(dwell_us)) ** 2

    def _nothing(
        self, lines: np.ndarray, grid: PhaseEncodeGrid, layout: LineLayout, transform: Callable
    ) -> Tensor:
        n_coils = self.n_coils(lines[0])
        line = torch.zeros(1, n_coils, layout.encoding.readout_size, dtype=torch.complex64)
        return line.new_zeros((grid.ny * grid.nz, *transform(line).shape[1:]))

    def _blocks(
        self, lines: np.ndarray, wanted: np.ndarray, layout: LineLayout
    ) -> Iterator[tuple[np.ndarray, Tensor, np.ndarray]]:
        """Yield members of `lines`, the finite readouts among them, and the state of each."""
        n_bad: Tensor | None = None
        for kind, of_kind in readout_kinds(self.source.heads[lines[wanted]]).items():
            readout = plan_readout(kind, layout)
            for start in range(0, len(of_kind), LINES_AT_ONCE):
                members = wanted[of_kind[start : start + LINES_AT_ONCE]]
                samples = torch.from_numpy(self.source.samples(lines[members]))
                samples = samples if self.channels is None else samples[:, self.channels]
                states = np.full(len(members), LineState.USED, np.int8)
                good = _finite_lines(samples)
                if not good.all():
                    more = _bad_channels(samples)
                    n_bad = more if n_bad is None else n_bad + more
                    samples = samples[good]
                    states[~good.numpy()] = LineState.BROKEN
                states[np.flatnonzero(good.numpy())[_empty_lines(samples)]] = LineState.EMPTY
                if self.whitening is not None:
                    samples = whiten(self.whitening.matrix, samples.movedim(0, 1)).movedim(0, 1)
                yield members, on_grid(readout, samples), states
        self._check_coils(n_bad, len(wanted))

    def _check_coils(self, n_bad: Tensor | None, n_lines: int) -> None:
        """Raise `BrokenCoils` for `broken_channels`."""
        if n_bad is not None and (broken := broken_channels(n_bad.numpy(), n_lines)):
            channels = self.channels or list(range(len(n_bad)))
            raise BrokenCoils([channels[i] for i in broken])


def on_grid(readout: Readout, samples: Tensor) -> Tensor:
    """Bring samples to the grid of the image.

    Parameters
    ----------
    samples
        Complex ``(..., sample)`` as acquired, of the kind of `readout`.

    Returns
    -------
    Tensor
        ``(..., n_out)``, the echo at ``n_out // 2``, zero where nothing was measured.
    """
    n_full, n_out = readout.n_full, readout.n_out
    if not samples.numel():
        # No line is left, or lines of nothing: an FFT of an empty batch is an error of MKL.
        return samples.new_zeros((*samples.shape[:-1], n_out))
    if readout.kind.reverse:
        samples = samples.flip(-1)
    low, high = readout.measured.start, readout.measured.stop
    full = samples[..., low - readout.start : high - readout.start]
    if high - low < n_full:
        full = samples.new_zeros((*samples.shape[:-1], n_full))
        full[..., low:high] = samples[..., low - readout.start : high - readout.start]
    if n_full == n_out:
        return full
    cropped = fft(crop_or_pad(ifft(full, -1), (n_out,)), -1)
    if readout.span == slice(0, n_out):
        return cropped
    outside = torch.ones(n_out, dtype=torch.bool)
    outside[readout.span] = False
    return cropped.masked_fill(outside, 0)


def squares(readouts: Tensor) -> Tensor:
    """Return the sum of |x|^2 over the coils of ``(line, coil, nx)``, float64 ``(line, nx)``."""
    # In double precision the squares of neither very small nor very large samples are lost.
    return torch.view_as_real(readouts).double().square().sum((1, 3))


def _bad_channels(samples: Tensor) -> Tensor:
    """Return the number of lines that are not finite, by channel, of ``(line, coil, sample)``."""
    return (~torch.isfinite(torch.view_as_real(samples)).flatten(2).all(2)).sum(0)


def _finite_lines(samples: Tensor) -> Tensor:
    """Return a boolean per line of ``(line, coil, sample)``."""
    # The sum is finite unless a sample is not (or all are huge): one pass in the usual case.
    if torch.isfinite(samples.sum().abs()):
        return torch.ones(len(samples), dtype=torch.bool)
    return torch.isfinite(torch.view_as_real(samples)).flatten(1).all(1)


def _empty_lines(samples: Tensor) -> np.ndarray:
    """Return the numbers of the lines of zeros alone in finite ``(line, coil, sample)``."""
    # The middle sample of a measured line is not zero: one column in the usual case.
    suspects = samples[..., samples.shape[-1] // 2].eq(0).all(1).nonzero().flatten()
    return suspects[samples[suspects].eq(0).flatten(1).all(1)].numpy()
