"""Simulates an ISMRMRD scan of a phantom or of an image, with its truth, and writes it."""

import itertools
from dataclasses import dataclass
from pathlib import Path

import h5py
import torch
from torch import Tensor

from jrsr_core.common.atomic import check_target, whole_file
from jrsr_core.data import Counters, Vector
from jrsr_core.mrd.files.scan import write_scan
from jrsr_core.mrd.lines.acquired import FRAME_COUNTERS, LineList
from jrsr_core.simulation.acquisition import white_noise
from jrsr_core.simulation.image_stack import StackError
from jrsr_core.simulation.protocols import Protocol, find_protocol

from .frames import (
    Frame,
    interleave,
    make_frame,
    reference_frame,
    reference_volume,
    second_encoding,
)
from .header import ScanMetadata, slice_axes
from .lines import scan_of_frames
from .noiseless import (
    NoiselessScan,
    adapted,
    noiseless_slices,
    noiseless_volume,
    whole_acceleration,
)
from .request import REFERENCES, ScanRequest, SimulationError

TE_MS = 10.0


@dataclass(frozen=True, eq=False)
class SimulatedScan:
    """A simulated scan, `header_xml` and `lines` as in its file, and the truth of its images.

    `frames` are the passes over k-space, reference frames first, of the field of view `fov_mm`
    ``(z, y, x)``. `truth` has the HR magnitudes ``(image, y, x)`` in the order of the images, in
    3-D ``(image, z, y, x)``, of the field of view `recon_fov_mm`. `mask` is the sampling mask of
    an image ``(ky, kx)``, in 3-D ``(ky, kz)``. `noise` is pure noise ``(coil, sample)`` with
    sqrt(E|n|^2) = `noise_std`.
    """

    header_xml: str
    lines: LineList
    frames: list[Frame]
    truth: Tensor
    mask: Tensor
    noise: Tensor
    noise_std: float
    fov_mm: Vector
    recon_fov_mm: Vector


def simulate_scan(request: ScanRequest) -> SimulatedScan:
    """Simulate a scan.

    Raises
    ------
    SimulationError
        Options that do not fit each other, or the protocol.
    StackError, FileNotFoundError, PermissionError
        As `load_image`.
    """
    try:
        protocol = adapted(request, find_protocol(request.protocol))
        _check_calibration(request, protocol)
        make = noiseless_volume if protocol.is_3d else noiseless_slices
        clean = make(request, protocol)
    except (SimulationError, StackError):
        raise
    except ValueError as error:
        raise SimulationError(f"{request.protocol}: {error}") from None
    return _measure(request, protocol, clean)


def write_simulation(
    request: ScanRequest, path: Path, truth_path: Path | None = None, *, overwrite: bool = False
) -> SimulatedScan:
    """Simulate a scan and write it, and its truth if `truth_path` is given.

    The truth is HDF5 with the data sets ``truth`` and ``mask`` and the attribute ``noise_std``.
    Nothing is left after an error; the errors are those of `simulate_scan` and `atomic.whole_file`.
    """
    for target in filter(None, (path, truth_path)):
        check_target(target, overwrite=overwrite)
    scan = simulate_scan(request)
    with whole_file(path, overwrite=overwrite) as temporary:
        write_scan(temporary, scan.header_xml, scan.lines)
    if truth_path is not None:
        with (
            whole_file(truth_path, overwrite=overwrite) as temporary,
            h5py.File(temporary, "w") as file,
        ):
            file.create_dataset("truth", data=scan.truth.numpy(), compression="gzip")
            file.create_dataset("mask", data=scan.mask.numpy())
            file.attrs["noise_std"] = scan.noise_std
    return scan


def _check_calibration(request: ScanRequest, protocol: Protocol) -> None:
    mode = request.calibration
    if mode in ("volume", "interleaved") and protocol.is_3d:
        raise SimulationError(
            f"calibration {mode} is for 2-D slices, {protocol.name} is a 3-D scan"
        )
    if mode == "volume" and request.slices < 2:
        raise SimulationError(f"calibration volume needs at least 2 slices, not {request.slices}")
    if mode == "interleaved" and request.repetitions < whole_acceleration(request, protocol):
        factor = int(protocol.acceleration)
        raise SimulationError(
            f"calibration interleaved at accel {factor} needs {factor} repetitions, "
            f"not {request.repetitions}"
        )


def _measure(request: ScanRequest, protocol: Protocol, clean: NoiselessScan) -> SimulatedScan:
    """Add noise to every frame, calibration, header and lines."""
    generator = torch.Generator().manual_seed(request.seed + 1)
    frames, truth = [], []
    for counters in _frame_counters(request):
        key = (counters.slice, counters.contrast)
        kspace = clean.kspace[key]
        noisy = kspace + white_noise(tuple(kspace.shape), clean.noise_std, generator)
        is_embedded = request.calibration == "embedded"
        frames.append(make_frame(counters, noisy, clean.lines, flagged=is_embedded))
        if counters.average == 0:
            truth.append(clean.truth[key])
    n_coils, nz, _, nx = frames[0].kspace.shape
    frames = _with_calibration(frames, request, protocol)
    if request.second_encoding:
        space = 1 + max(f.space for f in frames)
        frames += [second_encoding(f, space) for f in frames if not f.reference]
    noise = white_noise((n_coils, clean.n_noise_samples), clean.noise_std, generator)
    read, phase, normal = slice_axes(request.tilt, request.turn)
    metadata = ScanMetadata(
        protocol=request.protocol,
        te_ms=tuple(TE_MS * (1 + c) for c in range(request.contrasts)),
        read_dir=read,
        phase_dir=phase,
        slice_dir=normal,
    )
    header_xml, lines = scan_of_frames(
        frames,
        fov_mm=clean.fov_mm,
        recon_fov_mm=clean.recon_fov_mm,
        noise=noise if request.noise_scan else None,
        metadata=metadata,
        request=request,
    )
    return SimulatedScan(
        header_xml=header_xml,
        lines=lines,
        frames=frames,
        truth=torch.stack(truth),
        mask=clean.lines.mT if nz > 1 else clean.lines.mT.expand(-1, nx),
        noise=noise,
        noise_std=clean.noise_std,
        fov_mm=clean.fov_mm,
        recon_fov_mm=clean.recon_fov_mm,
    )


def _frame_counters(request: ScanRequest) -> list[Counters]:
    sizes = [range(getattr(request, f"{name}s")) for name in FRAME_COUNTERS]
    return [
        Counters(**dict(zip(FRAME_COUNTERS, values, strict=True)))
        for values in itertools.product(*sizes)
    ]


def _with_calibration(frames: list[Frame], request: ScanRequest, protocol: Protocol) -> list[Frame]:
    """Interleave the frames, or put a reference scan of every slice before them."""
    if request.calibration == "interleaved":
        factor = int(protocol.acceleration)
        return [interleave(f, f.counters.repetition, factor) for f in frames]
    if request.calibration not in REFERENCES:
        return frames
    firsts = {f.counters.slice: f for f in reversed(frames)}
    slices = [firsts[number] for number in sorted(firsts)]
    if request.calibration == "volume":
        return [reference_volume(slices, protocol.n_acs), *frames]
    return [reference_frame(f, protocol.n_acs, request.calibration) for f in slices] + frames
