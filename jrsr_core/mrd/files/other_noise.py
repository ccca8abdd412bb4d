"""Noise that is not among the lines of a scan: of an earlier file, or of another group of its own.

A `noise_file` comes first, then the noise lines of the scan, then those of another group.
"""

from dataclasses import replace
from pathlib import Path

from jrsr_core.mrd.errors import BadScan, UnsupportedScan
from jrsr_core.mrd.lines.acquired import LineSource
from jrsr_core.mrd.noise.measured import NoiseData, noise_of_scan
from jrsr_core.mrd.planning.plan import ScanPlan

from .other_groups import noise_scan
from .sandbox import SandboxedScan
from .scan import ScanFile


def other_noise(
    source: LineSource, plan: ScanPlan, noise_file: str | Path | None
) -> NoiseData | None:
    """Return the noise to be used instead of the noise lines of a planned scan; None for those.

    `noise_file` is None or empty where there is none; raises as `noise_of_file`, and
    `UnsupportedScan` for the noise of other coils.
    """
    noise = noise_of_file(noise_file) if noise_file else _noise_beside(source, plan)
    return noise and noise.in_order(plan.header.coil_names)


def noise_of_file(path: str | Path) -> NoiseData:
    """Return the noise of an earlier scan; the errors name it as the `noise_file`.

    Raises
    ------
    FileNotFoundError
        No such file.
    BadScan
        The file is broken.
    UnsupportedScan
        The file holds no scan, or one without noise lines.
    """
    try:
        with ScanFile(path) as scan:
            noise = noise_of_scan(scan.header, scan)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"noise_file {error}") from error
    except (BadScan, UnsupportedScan) as error:
        raise type(error)(f"noise_file {path}: {error}") from error
    if noise is None:
        raise UnsupportedScan(f"noise_file {path} has no noise lines")
    return replace(noise, place=str(path))


def _noise_beside(source: LineSource, plan: ScanPlan) -> NoiseData | None:
    """Return the noise that another group of the file holds, for a scan without noise lines."""
    if len(plan.noise) or not isinstance(source, ScanFile | SandboxedScan):
        return None
    with noise_scan(source, plan.n_coils) as other:
        if other is None:
            return None
        noise = noise_of_scan(other.header, other)
        return noise and replace(noise, place=other.dataset)
