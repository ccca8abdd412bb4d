"""The noise scan of another measurement of a Siemens file, put in front of the lines of a scan."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gadget.offline.importing.lazy import LazyLines
from jrsr_core.mrd.lines.acquired import LineList

from .file import Readouts, read_protocol
from .header import dwell_us
from .lines import NOISE_BIT, SiemensLines, has_bit, line_heads
from .protocol import Protocol

ADJUSTMENT_DWELL_US = {"AdjCoilSens": 5.0, "AdjQuietCoilSens": 4.0}
"""Protocols that measure noise before a scan -> dwell time of that noise."""


class _Joined(LazyLines):
    """Noise lines, their channels in the order of the scan, and the lines of the scan."""

    def __init__(
        self, noise: Sequence[np.ndarray], order: list[int], scan: Sequence[np.ndarray]
    ) -> None:
        self._noise, self._order, self._scan = noise, order, scan

    def __len__(self) -> int:
        return len(self._noise) + len(self._scan)

    def line(self, index: int) -> np.ndarray:
        """Return the samples of one line."""
        n = len(self._noise)
        return self._noise[index][self._order] if index < n else self._scan[index - n]


def with_noise(
    path: Path, measured: list[Readouts], chosen: Readouts, lines: LineList
) -> tuple[LineList, str]:
    """Return the lines with the last noise scan in front of them, and a sentence about it.

    A noise scan of other receiver channels is left out. The sentence is "" without any noise scan.
    """
    number = chosen.measurement.number
    noises = [r for r in measured if r.measurement.number < number and _is_noise(r)]
    if not noises:
        return lines, ""
    noise = noises[-1]
    where = f"measurement {noise.measurement.number}"
    n_coils = {int(n) for n in noise.heads["UsedChannels"]}
    if set(noise.channel_ids) != set(chosen.channel_ids) or n_coils != {len(chosen.channel_ids)}:
        return lines, f"the noise scan of {where} has other channels and is left out"
    own = Protocol(read_protocol(path, noise.measurement))
    adjusted = ADJUSTMENT_DWELL_US.get(noise.measurement.protocol_name)
    heads = line_heads(noise, dwell_us(own), adjusted)
    order = [noise.channel_ids.index(i) for i in chosen.channel_ids]
    joined = _Joined(SiemensLines(path, noise), order, lines.data)
    return LineList(np.concatenate([heads, lines.heads]), joined), f"noise scan of {where}"


def _is_noise(readouts: Readouts) -> bool:
    return bool(len(readouts.heads) and has_bit(readouts.heads["EvalInfoMask"], NOISE_BIT).all())
