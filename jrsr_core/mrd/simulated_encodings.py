"""The encoding spaces of a simulated scan, as its header tells them."""

import torch

from ..geometry import Vector
from .simulated_frames import Frame
from .simulated_header import EncodingText
from .simulated_style import ScanStyle


def encoding_texts(
    frames: list[Frame], style: ScanStyle, fov_mm: Vector, recon_fov_mm: Vector
) -> list[EncodingText]:
    """Return one encoding for every space that frames refer to, and a spare one if asked for."""
    is_flagged = any(bool(f.flags.any()) for f in frames)
    is_marked = is_flagged and style.calibration != "none"
    # A 3-D reference of slices is an external one to the standard.
    mode = "external" if style.calibration == "volume" else style.calibration
    texts = []
    for number in range(1 + max(f.space for f in frames)):
        members = [f for f in frames if f.space == number]
        image = next((f for f in members if not f.reference), members[0])
        factor = max(1, round(image.mask.numel() / float(image.mask.sum())))
        factor = 1 if image.reference else style.acceleration or factor
        calibration = mode if is_marked and not image.reference else ""
        wanted = fov_mm if image.reference else recon_fov_mm
        text = _encoding(image, members if number else frames, style, fov_mm, wanted)
        texts.append(EncodingText(acceleration=factor, calibration=calibration, **text))
    return texts + texts[:1] * style.spare_encoding


def _encoding(
    frame: Frame, frames: list[Frame], style: ScanStyle, fov_mm: Vector, recon_fov_mm: Vector
) -> dict:
    _, nz, ny, nx = frame.kspace.shape
    factor = 2 if style.oversampling else 1
    share = [b / a for a, b in zip(fov_mm, recon_fov_mm, strict=True)]
    # A volume that calibrates slices is as thick as all of them.
    thickness = nz if frame.is_slab_of_slices else 1
    return {
        "matrix": (nz, ny, factor * nx),
        "fov_mm": (thickness * fov_mm[0], fov_mm[1], factor * fov_mm[2]),
        "recon_matrix": (max(1, round(nz * share[0])), round(ny * share[1]), nx),
        "recon_fov_mm": (thickness * recon_fov_mm[0], *recon_fov_mm[1:]),
        "limits": _limits(frame, frames, style) if style.limits else {},
        "trajectory": style.trajectory,
    }


def _limits(frame: Frame, frames: list[Frame], style: ScanStyle) -> dict:
    skip = (0, 0) if frame.reference else first_counters(frame, style)
    limits = {}
    for axis, name in ((1, "kspace_encoding_step_1"), (0, "kspace_encoding_step_2")):
        rows = torch.nonzero(frame.mask.amax(1 - axis) > 0).flatten() - skip[axis]
        center = frame.mask.shape[axis] // 2 - skip[axis]
        limits[name] = (int(rows.min()), int(rows.max()), center)
    for name in ("average", "slice", "contrast", "phase", "repetition", "set"):
        limits[name] = (0, max(getattr(f.counters, name) for f in frames), 0)
    return limits


def first_counters(frame: Frame, style: ScanStyle) -> tuple[int, int]:
    """Rows (z, y) that partial Fourier leaves out before counter 0."""
    shape = frame.mask.shape
    return tuple(n - round(f * n) for n, f in zip(shape, style.partial_fourier, strict=True))
