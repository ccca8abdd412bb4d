"""Lines of a 3-D scan -> hybrid space: inverse FFT along the readout, compression of the coils.

    h(x, v, ky, kz) = sum_c A_x[v, c]  IFFT_x[ k(c, ky, kz, kx) ]

A_x are the GCC matrices of the 3-D ACS, one per readout position and aligned along it, so that at
most `n_virtual_coils` coils of the volume are in memory at a time.

A sample is the mean of the n lines that measured it. Where all lines of a place measured the same
samples, the mean is taken in hybrid space, else their readouts are weighted before the FFT.
"""

from functools import partial

import numpy as np
import torch
from torch import Tensor

from jrsr_core.calibration.compression import CoilCompressor
from jrsr_core.mrd.lines.distinct import distinct_rows
from jrsr_core.mrd.lines.grid import line_places, plane_counts
from jrsr_core.mrd.lines.readout import LineLayout, measured_spans
from jrsr_core.physics.fourier import ifft

from .accumulate import LineReader, LineState, SummedLines
from .averages import AveragedLines, sum_averages
from .line_sums import LineSums


def hybrid_acs(acs: Tensor, n_virtual: int) -> tuple[Tensor, CoilCompressor | None]:
    """Return the ACS ``(x, coil, ay, az)`` of the virtual coils, and the compression.

    `acs` is ``(coil, ay, az, nx)`` in k-space; without an ACS, or with few coils, nothing is
    compressed.
    """
    n_coils, ay, az, nx = acs.shape
    if not ay * az:
        return acs.permute(3, 0, 1, 2), None
    compressor = None
    if n_coils > n_virtual:
        compressor = CoilCompressor.gcc(acs.flatten(1, 2), n_virtual, nx)
    lines = to_hybrid(acs.flatten(1, 2).movedim(0, 1), compressor)
    return lines.unflatten(0, (ay, az)).permute(3, 2, 0, 1).contiguous(), compressor


def to_hybrid(readouts: Tensor, compressor: CoilCompressor | None) -> Tensor:
    """Return readouts ``(line, coil, kx)`` in hybrid space, ``(line, virtual coil, x)``."""
    hybrid = ifft(readouts, -1)
    if compressor is None:
        return hybrid
    return torch.einsum("xvc,lcx->lvx", compressor.matrices, hybrid)


def read_hybrid(
    reader: LineReader,
    lines: np.ndarray,
    layout: LineLayout,
    compressor: CoilCompressor | None,
    weights: Tensor | None = None,
) -> tuple[Tensor, Tensor, AveragedLines]:
    """Read the lines of a volume, each coil times its weight ``(coil,)``.

    Returns
    -------
    hybrid, counts, averaged
        complex64 ``(x, coil, ky, kz)``; how often each place was measured, float32 ``(ky, kz)``;
        the sum of the lines.
    """
    grid = layout.encoding.grid
    if weights is not None and compressor is not None:
        compressor = CoilCompressor(compressor.matrices * weights, compressor.is_geometric)

    def add(members: np.ndarray, factors: Tensor | None) -> SummedLines:
        return _sum(reader, lines[members], layout, compressor, factors)

    def counts_of(heads: np.ndarray) -> np.ndarray:
        return plane_counts(heads, grid).reshape(-1, 1)

    averaged = sum_averages(LineSums(reader, lines, layout, grid, add, counts_of))
    total = averaged.summed.total
    if weights is not None and compressor is None:
        total *= weights[:, None]
    counts = torch.from_numpy(
        plane_counts(reader.source.heads[lines[averaged.summed.measured]], grid)
    )
    total /= counts.clamp_min(1).reshape(-1, 1, 1)
    return total.unflatten(0, (grid.ny, grid.nz)).permute(3, 2, 0, 1), counts, averaged


def _sum(
    reader: LineReader,
    lines: np.ndarray,
    layout: LineLayout,
    compressor: CoilCompressor | None,
    factors: Tensor | None = None,
) -> SummedLines:
    """Return what `LineReader.sum` does, the mean of every sample times the lines of its place.

    Places whose lines measured different samples have no power.
    """
    grid = layout.encoding.grid
    groups = _weights(reader.source.heads[lines], layout)
    states = np.zeros(len(lines), np.int8)
    total = power = torch.zeros(())
    for i, (members, weights) in enumerate(groups):
        transform = partial(_weighted, weights=weights, compressor=compressor)
        own = None if factors is None else factors[members]
        part = reader.sum(lines[members], grid, layout, transform, own)
        states[members] = part.states
        part_power = part.power if weights is None else torch.zeros_like(part.power)
        total = part.total if i == 0 else total.add_(part.total)
        power = part_power if i == 0 else power.add_(part_power)
    summed = SummedLines(total, power, states)
    measured = summed.measured
    is_lost = (states != LineState.LEFT_OUT) & ~measured
    if measured.any() and is_lost.any() and any(w is not None for _, w in groups):
        # The lines that are lost had a part in the weights of the others.
        own = None if factors is None else factors[measured]
        rest = _sum(reader, lines[measured], layout, compressor, own)
        summed = SummedLines(rest.total, rest.power, states)
    return summed


def _weighted(
    readouts: Tensor, weights: Tensor | None, compressor: CoilCompressor | None
) -> Tensor:
    return to_hybrid(readouts if weights is None else readouts * weights, compressor)


def _weights(heads: np.ndarray, layout: LineLayout) -> list[tuple[np.ndarray, Tensor | None]]:
    """Return lines and their weight ``(nx,)``: lines of their place over those of the sample.

    None is 1: lines of places where every line measured the same samples.
    """
    spans: dict[tuple[int, int], list[np.ndarray]] = {}
    for members, span in measured_spans(heads, layout):
        spans.setdefault((span.start, span.stop), []).append(members)
    if len(spans) == 1:
        return [(np.arange(len(heads)), None)]
    # Places where every line, by its span, was measured equally often share their weight.
    grid = layout.encoding.grid
    places = line_places(heads, grid)
    parts = [np.concatenate(members) for members in spans.values()]
    counts = [plane_counts(heads[part], grid).reshape(-1)[places] for part in parts]
    patterns, group, _ = distinct_rows(counts)
    is_mixed = (patterns > 0).sum(-1) > 1
    group = np.where(is_mixed[group], group, -1)
    found = []
    for number in np.unique(group):
        weights = _weights_of(patterns[number], list(spans), layout) if number >= 0 else None
        found.append((np.flatnonzero(group == number), weights))
    return found


def _weights_of(counts: np.ndarray, spans: list[tuple[int, int]], layout: LineLayout) -> Tensor:
    """Return the lines of a place over those of each of its samples, float32 ``(nx,)``."""
    measured = torch.zeros(layout.encoding.readout_size)
    for n, (start, stop) in zip(counts, spans, strict=True):
        measured[start:stop] += float(n)
    return float(counts.sum()) / measured.clamp_min(1)
