"""2-D objects of `jrsr simulate`: one image per slice and contrast, seen by the coils of a slice.

All frames of a scan share one noise level, that of the first slice; contrast c shows the magnitude
to the power 1 + c/2, which keeps it between 0 and 1.
"""

import itertools
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from jrsr_core.data import Counters, Vector
from jrsr_core.physics.resolution import crop_or_pad
from jrsr_core.simulation.acquisition import SimulatedScan, white_noise
from jrsr_core.simulation.masks import make_mask
from jrsr_core.simulation.phantoms import brain_phantom
from jrsr_core.simulation.protocols import SR_FACTOR, Protocol, load_image, simulate_protocol

from .frames import Frame, interleave, make_frame, reference_frame, reference_volume
from .lines import whole_lines
from .request import REFERENCES, ScanRequest, SimulationError

NO_NOISE_DB = 300.0
SLICE_MM = 5.0


@dataclass(frozen=True, eq=False)
class Simulation:
    """Frames as measured, and what they show.

    `truth` is ``(image, y, x)`` in the order of the images, in 3-D ``(image, z, y, x)``; `mask` the
    lines ``(ky, kx)``, in 3-D ``(ky, kz)``; `noise` pure noise ``(coil, samples)``; `fov_mm`
    acquired and `recon_fov_mm` wanted ``(z, y, x)``.
    """

    frames: list[Frame]
    truth: Tensor
    mask: Tensor
    noise: Tensor
    noise_std: float
    fov_mm: Vector
    recon_fov_mm: Vector


def simulate_slices(request: ScanRequest, protocol: Protocol) -> Simulation:
    """Simulate a 2-D scan."""
    protocol = adapted(request, protocol)
    generator = torch.Generator().manual_seed(request.seed + 1)
    hr = protocol.seen_shape(_image(request, protocol, 0).shape)
    first = simulate_protocol(protocol, _padded(request, protocol, 0, 0), seed=request.seed)
    std = first.noise_std
    lines = whole_lines(image_mask(request, protocol, first.mask))
    frames, truth, known = [], [], {}
    for counters in image_counters(request):
        which = (counters.slice, counters.contrast)
        if which not in known:
            quiet = _quiet(request, protocol, *which)
            known[which] = (with_deaf_coils(quiet.fully_sampled, request.deaf_coils), quiet.truth)
        quiet_kspace, magnitude = known[which]
        if counters.average == 0:
            truth.append(crop_or_pad(magnitude, hr))
        kspace = quiet_kspace + white_noise(tuple(quiet_kspace.shape), std, generator)
        flagged = request.calibration == "embedded"
        frames.append(make_frame(counters, kspace[:, None], lines, flagged=flagged))
    frames = with_calibration(frames, request, protocol)
    acquired = protocol.seen_shape(_padded(request, protocol, 0, 0).shape)
    fov = [n * protocol.pixel_mm for n in acquired]
    return Simulation(
        frames=frames,
        truth=torch.stack(truth),
        mask=lines[0][:, None].expand(first.mask.shape),
        noise=white_noise((frames[0].kspace.shape[0], first.noise.shape[1]), std, generator),
        noise_std=std,
        fov_mm=(SLICE_MM, *fov),
        recon_fov_mm=(SLICE_MM, hr[0] * protocol.pixel_mm, hr[1] * protocol.pixel_mm),
    )


def adapted(request: ScanRequest, protocol: Protocol) -> Protocol:
    """Return the protocol with the numbers of the request."""
    changes = {
        "n_coils": request.n_coils,
        "acceleration": request.acceleration,
        "mask": request.mask,
        "noise_db": request.noise_db,
        "n_acs": request.acs,
        "hr_shape": request.hr_matrix(protocol.hr_shape),
        "readout_pixel": request.readout_pixel,
        "phase_fov": request.phase_fov,
    }
    return replace(protocol, **{k: v for k, v in changes.items() if v is not None})


def image_mask(request: ScanRequest, protocol: Protocol, mask: Tensor) -> Tensor:
    """Return the mask of the images: without the centre where another scan brings it."""
    if request.calibration not in REFERENCES:
        return mask
    factor = int(protocol.acceleration)
    if factor != protocol.acceleration:
        raise SimulationError(
            f"calibration {request.calibration} needs a whole accel, not {factor}"
        )
    return make_mask("regular", tuple(mask.shape), factor, n_acs=1)


def with_calibration(frames: list[Frame], request: ScanRequest, protocol: Protocol) -> list[Frame]:
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


def image_counters(request: ScanRequest) -> list[Counters]:
    """Return the counters of all frames, slices fastest but for the averages."""
    names = ("repetition", "set", "phase", "contrast", "average", "slice")
    sizes = (
        *(request.repetitions, request.sets, request.phases),
        *(request.contrasts, request.averages, request.slices),
    )
    places = itertools.product(*(range(n) for n in sizes))
    return [Counters(**dict(zip(names, place, strict=True))) for place in places]


def _quiet(request: ScanRequest, protocol: Protocol, number: int, contrast: int) -> SimulatedScan:
    image = _padded(request, protocol, number, contrast)
    silent = replace(protocol, noise_db=NO_NOISE_DB)
    return simulate_protocol(silent, image, seed=request.seed + number)


def _padded(request: ScanRequest, protocol: Protocol, number: int, contrast: int) -> Tensor:
    """Return the object in the acquired field of view."""
    return oversampled(shown(_image(request, protocol, number), contrast), request)


def shown(image: Tensor, contrast: int) -> Tensor:
    """Return the magnitude as a contrast shows it."""
    return image ** (1 + contrast / 2)


def oversampled(image: Tensor, request: ScanRequest) -> Tensor:
    """Pad an image ``(y, x)``, in 3-D ``(y, z)``, to the acquired field of view along y."""
    ny, nx = image.shape
    return crop_or_pad(image, (SR_FACTOR * round(ny * request.phase_oversampling / SR_FACTOR), nx))


def _image(request: ScanRequest, protocol: Protocol, number: int) -> Tensor:
    if not request.image:
        return brain_phantom(protocol.hr_shape)
    return requested_image(request, number)


def requested_image(request: ScanRequest, number: int) -> Tensor:
    """Return the image `number` places behind the one asked for."""
    path, colon, index = request.image.rpartition(":")
    if not colon or not index.isdigit():
        raise SimulationError(f"image is {request.image!r}, expected FILE:INDEX")
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file")
    return load_image(path, int(index) + number)


def with_deaf_coils(kspace: Tensor, n: int) -> Tensor:
    """Add `n` coils without signal to ``(coil, ...)``."""
    return torch.cat([kspace, kspace.new_zeros((n, *kspace.shape[1:]))])
