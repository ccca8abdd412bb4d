"""Scans of a phantom or of an image, written as a scanner would; the truth beside them."""

import math
from dataclasses import replace
from pathlib import Path

import h5py

from jrsr_core.atomic import check_target, whole_file
from jrsr_core.data import Vector
from jrsr_core.mrd.files.scan import write_scan
from jrsr_core.simulation.protocols import PROTOCOLS
from jrsr_core.spelling import nearest

from .frames import ScanStyle, second_encoding
from .header import ScanLabels
from .lines import scan_of_frames
from .request import REFERENCES, ScanRequest, SimulationError
from .slices import Simulation, simulate_slices
from .volume import simulate_volume

TE_MS = 10.0


def simulate(request: ScanRequest) -> Simulation:
    """Simulate the frames of a scan and their truth.

    Raises
    ------
    SimulationError
        Options that do not fit each other, or the protocol.
    """
    if request.protocol not in PROTOCOLS:
        raise SimulationError(
            f"unknown protocol {request.protocol!r}{nearest(request.protocol, PROTOCOLS)}"
        )
    _check_interleaving(request)
    _check_slab(request)
    make = simulate_volume if request.protocol == "wall-16x" else simulate_slices
    try:
        made = make(request, PROTOCOLS[request.protocol])
    except SimulationError:
        raise
    except ValueError as error:
        raise SimulationError(f"{request.protocol}: {error}") from None
    return _measured_twice(made) if request.second_encoding else made


def _measured_twice(made: Simulation) -> Simulation:
    """Add all images once more in an encoding space of their own."""
    space = 1 + max(f.space for f in made.frames)
    again = [second_encoding(f, space) for f in made.frames if not f.reference]
    return replace(made, frames=made.frames + again)


def write_simulation(
    request: ScanRequest, path: Path, truth_path: Path | None = None, *, overwrite: bool = False
) -> Simulation:
    """Simulate and write the scan, and the truth if asked for; nothing is left after an error."""
    for target in filter(None, (path, truth_path)):
        check_target(target, overwrite=overwrite)
    made = simulate(request)
    xml, lines = scan_of_frames(
        made.frames,
        fov_mm=made.fov_mm,
        recon_fov_mm=made.recon_fov_mm,
        noise=made.noise if request.noise_scan else None,
        labels=_labels(request),
        style=_style(request),
    )
    with whole_file(path, overwrite=overwrite) as temporary:
        write_scan(temporary, xml, lines)
    if truth_path is not None:
        with whole_file(truth_path, overwrite=overwrite) as temporary:
            _write_truth(temporary, made)
    return made


def _check_slab(request: ScanRequest) -> None:
    if request.calibration != "volume":
        return
    if request.protocol == "wall-16x":
        raise SimulationError("calibration volume is for 2-D slices, wall-16x is a 3-D scan")
    if request.slices < 2:
        raise SimulationError(f"calibration volume needs at least 2 slices, not {request.slices}")


def _check_interleaving(request: ScanRequest) -> None:
    factor = request.acceleration or PROTOCOLS[request.protocol].acceleration
    if request.calibration != "interleaved":
        return
    if request.protocol == "wall-16x" or factor != int(factor):
        raise SimulationError(
            f"calibration interleaved needs a 2-D scan and a whole accel, not {factor}"
        )
    if request.repetitions < factor:
        raise SimulationError(
            f"calibration interleaved at accel {int(factor)} needs {int(factor)} repetitions, "
            f"not {request.repetitions}"
        )


def _labels(request: ScanRequest) -> ScanLabels:
    read, phase, normal = slice_axes(request.tilt, request.turn)
    return ScanLabels(
        protocol=request.protocol,
        te_ms=tuple(TE_MS * (1 + c) for c in range(request.contrasts)),
        read_dir=read,
        phase_dir=phase,
        slice_dir=normal,
    )


def slice_axes(tilt: float, turn: float) -> tuple[Vector, Vector, Vector]:
    """Read, phase and slice direction of a slice tilted about L and then turned in its plane."""
    t, u = math.radians(tilt), math.radians(turn)
    along = (0.0, math.cos(t), math.sin(t))
    normal = (0.0, -math.sin(t), math.cos(t))
    read = (math.cos(u), *(math.sin(u) * v for v in along[1:]))
    phase = (-math.sin(u), *(math.cos(u) * v for v in along[1:]))
    return read, phase, normal


def _style(request: ScanRequest) -> ScanStyle:
    is_regular = request.calibration in (*REFERENCES, "interleaved")
    factor = request.acceleration or PROTOCOLS[request.protocol].acceleration
    return ScanStyle(
        oversampling=request.oversampling,
        order=request.order,
        calibration=request.calibration,
        acceleration=int(factor) if is_regular else None,
        partial_fourier=(request.partial_slice_fourier, request.partial_fourier),
        partial_echo=request.partial_echo,
        segments=request.segments,
        alternate=request.alternate,
        spare_lines=request.spare_lines,
        limits=request.limits,
        spare_encoding=request.spare_encoding,
        trajectory=request.trajectory,
        noise_scans=request.noise_scans,
        noise_dwell=request.noise_dwell,
    )


def _write_truth(path: Path, made: Simulation) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("truth", data=made.truth.numpy(), compression="gzip")
        file.create_dataset("mask", data=made.mask.numpy())
        file.attrs["noise_std"] = made.noise_std
