"""Noise of the receivers, as noise lines measured it, and which of it whitens a scan.

Several noise scans count as one: their lines are brought to the bandwidth of the first. Imports no
torch, so that `jrsr check` says what `jrsr recon` does.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from jrsr_core.mrd.errors import BadScan, UnsupportedScan
from jrsr_core.mrd.header.scan_header import ScanHeader
from jrsr_core.mrd.lines.acquired import NOISE, LineSource, has_flag
from jrsr_core.mrd.planning.plan import ScanPlan

from .lines import NOT_WHITENED, too_few, usable_noise
from .purity import HOLDS_SIGNAL, pure_noise, without_padding


@dataclass(frozen=True, eq=False)
class NoiseData:
    """Noise of the receivers.

    Attributes
    ----------
    samples
        complex64 ``(coil, sample)``.
    dwell_us
        Dwell time in us; 0 where it is unknown.
    bandwidth
        Effective over nominal receiver bandwidth (b).
    coil_names
        Those of the header it came with; empty if it has none.
    note
        What was decided against that header; empty for nothing.
    place
        File or group that it was read from; empty for the noise lines of the scan.
    """

    samples: np.ndarray
    dwell_us: float
    bandwidth: float
    coil_names: tuple[str, ...] = ()
    note: str = ""
    place: str = ""

    def of_channels(self, channels: list[int]) -> "NoiseData":
        """Return the noise of some channels."""
        return replace(self, samples=self.samples[channels], coil_names=())

    def in_order(self, coil_names: tuple[str, ...]) -> "NoiseData":
        """Return the noise with its channels in the order of these coils.

        Unchanged unless both sides name every channel.

        Raises
        ------
        UnsupportedScan
            Noise of other coils.
        """
        own, n_coils = self.coil_names, self.samples.shape[0]
        if own == coil_names or not len(own) == len(coil_names) == n_coils:
            return self
        if {*own} != {*coil_names}:
            ours = next(name for name in own if name not in coil_names)
            theirs = next(name for name in coil_names if name not in own)
            raise UnsupportedScan(f"noise has coil {ours!r}, scan has {theirs!r} instead")
        order = [own.index(name) for name in coil_names]
        return replace(self, samples=self.samples[order], coil_names=coil_names)


def noise_of_scan(header: ScanHeader, source: LineSource) -> NoiseData | None:
    """Return the noise of a scan, None where it has no noise lines."""
    return _noise_of_lines(header, source, np.flatnonzero(has_flag(source.heads, NOISE)))


def noise_for_whitening(
    source: LineSource,
    plan: ScanPlan,
    broken_coils: frozenset[int],
    other: NoiseData | None = None,
) -> tuple[NoiseData | None, str]:
    """Return the noise that whitens a planned scan, and what was decided about it.

    The noise is that of the channels that are used. None means that the coils are not whitened and
    the noise level is estimated; the text is empty then if there is no noise at all.

    Parameters
    ----------
    broken_coils
        Channels that are not used.
    other
        Noise to be used instead of the noise lines of the scan.

    Raises
    ------
    UnsupportedScan
        Noise of another number of channels.
    BadScan
        Noise that is not finite, or zero in all channels.
    """
    noise, note = other, ""
    if noise is None:
        found = usable_noise(source, plan.noise, broken_coils)
        noise, note = _noise_of_lines(plan.header, source, found.lines), found.note
    if noise is None:
        return None, note
    n_channels = noise.samples.shape[0]
    if n_channels != plan.n_coils:
        raise UnsupportedScan(f"noise has {n_channels} channels, scan has {plan.n_coils}")
    if broken_coils:
        noise = noise.of_channels([c for c in range(n_channels) if c not in broken_coils])
    _check_samples(noise)
    samples = pure_noise(noise.samples)
    if samples is None:
        return None, f"{HOLDS_SIGNAL}: {NOT_WHITENED}"
    if few := too_few(samples.shape[1], len(samples), " without padding and spikes"):
        return None, f"{few}: {NOT_WHITENED}"
    return replace(noise, samples=samples), "; ".join(filter(None, (note, noise.note)))


def _check_samples(noise: NoiseData) -> None:
    """Raise `BadScan` if noise cannot be whitened with."""
    where = f"noise of {noise.place}" if noise.place else "noise lines"
    if not np.isfinite(noise.samples.view(np.float32)).all():
        raise BadScan(f"{where}: samples are not finite")
    if not noise.samples.any():
        raise BadScan(f"{where}: all samples are zero in all {len(noise.samples)} coils")


def _noise_of_lines(header: ScanHeader, source: LineSource, lines: np.ndarray) -> NoiseData | None:
    """Return the samples of noise lines of one number of channels, or None where there are none."""
    if not len(lines):
        return None
    dwell = source.heads["sample_time_us"][lines].astype(np.float64)
    first = float(dwell[0])
    # E|n|^2 ~ 1 / dwell; unknown dwell times count as that of the first line.
    ratio = np.where((dwell > 0) & (first > 0), dwell / max(first, 1e-12), 1.0)
    parts = [
        math.sqrt(r) * without_padding(source.samples(np.array([i]))[0])
        for i, r in zip(lines, ratio, strict=True)
    ]
    return NoiseData(
        np.concatenate(parts, axis=-1),
        first,
        header.noise_bandwidth,
        coil_names=header.coil_names,
        note=header.noise_bandwidth_note,
    )
