"""What a scan contains and what would be done with it, found without reading a sample.

`recon` takes the same decision by the same function, so that `check` never promises what `recon`
declines.
"""

from dataclasses import dataclass

import numpy as np

from jrsr_core.calibration.calibrate import SR_FACTOR
from jrsr_core.models import MODEL_NAMES, PRESETS
from jrsr_core.models.registry import CONSISTENT, PARTS
from jrsr_core.mrd.calibration_lines import acs_size, calibration_size
from jrsr_core.mrd.errors import UnsupportedScan
from jrsr_core.mrd.header import ScanHeader
from jrsr_core.mrd.placement import line_counts, lines_outside
from jrsr_core.mrd.plan import NESTING, ScanPlan, plan_scan
from jrsr_core.mrd.readout import readout_size
from jrsr_core.weights import CardError, find_system

from .errors import UsageError
from .settings import Settings, nearest

READOUT_FIELDS = ("number_of_samples", "center_sample", "discard_pre", "discard_post", "flags")
STEPS = ("kspace_encode_step_1", "kspace_encode_step_2")


@dataclass(frozen=True, eq=False)
class Inspection:
    """A plan and its consequences.

    `acs` is the smallest usable calibration block ``(y, x)`` (3-D: ``(y, z)``), the largest one
    where none is usable; `n_without_acs` the number of images that will be fallback images,
    `acceleration` the mean over the images.
    """

    plan: ScanPlan
    acs: tuple[int, int]
    n_without_acs: int
    acceleration: float
    n_averages: int
    n_outside: int

    @property
    def lr_matrix(self) -> tuple[int, ...]:
        """Acquired grid (y, x), 3-D (z, y, x), after removal of readout oversampling."""
        nz, ny, _ = self.plan.encoding.encoding_matrix
        plane = (ny, readout_size(self.plan.encoding))
        return (nz, *plane) if self.plan.encoding.is_3d else plane

    @property
    def hr_matrix(self) -> tuple[int, ...]:
        """Matrix of the images, oversampling removed along the phase encodes as well."""
        encoding = self.plan.encoding
        ratios = zip(encoding.recon_fov_mm, encoding.encoding_fov_mm, strict=True)
        z, y, _ = (min(1.0, wanted / encoded) for wanted, encoded in ratios)
        *_, ny, nx = self.lr_matrix
        if not encoding.is_3d:
            return (SR_FACTOR * round(ny * y), SR_FACTOR * nx)
        return (SR_FACTOR * round(self.lr_matrix[0] * z), SR_FACTOR * round(ny * y), nx)


def inspect_scan(header: ScanHeader, heads: np.ndarray, settings: Settings) -> Inspection:
    """Plan a scan and find what calibrates it.

    Raises
    ------
    UnsupportedScan, BadScan
        The scan is declined, or broken.
    """
    plan = plan_scan(header, heads)
    width = settings.kernel_width
    plane = _plane(plan)
    if min(plane) < 2 * width:
        raise UnsupportedScan(
            f"matrix {plane[0]} x {plane[1]} is too small for a kernel of {width}: "
            f"at least {2 * width} x {2 * width}"
        )
    known: dict[bytes, tuple[tuple[int, int], float, int]] = {}
    blocks, accelerations, averages = [], [], []
    for counters, lines in plan.groups.items():
        key = _pattern(heads[lines])
        if key not in known:
            counts = line_counts(heads[lines], plan.encoding)
            measured = float((counts > 0).sum())
            known[key] = (acs_size(counts), counts.numel() / measured, int(counts.max()))
        block, acceleration, n = known[key]
        chosen = plan.calibration.get(counters.slice)
        if chosen is not None:
            block = calibration_size(heads, chosen, plan.encoding)
        blocks.append(block)
        accelerations.append(acceleration)
        averages.append(n)
    usable = [b for b in blocks if min(b) >= width]
    return Inspection(
        plan=plan,
        acs=min(usable) if usable else max(blocks),
        n_without_acs=len(blocks) - len(usable),
        acceleration=float(np.mean(accelerations)),
        n_averages=max(averages),
        n_outside=lines_outside(heads[np.concatenate(list(plan.groups.values()))], plan.encoding),
    )


def _plane(plan: ScanPlan) -> tuple[int, int]:
    """Return the plane of the 2-D model: (phase, readout), in 3-D (phase, second phase)."""
    nz, ny, _ = plan.encoding.encoding_matrix
    return (ny, nz) if plan.encoding.is_3d else (ny, readout_size(plan.encoding))


def _pattern(heads: np.ndarray) -> bytes:
    """Return what the sampling of an image depends on."""
    columns = (*(heads["idx"][name] for name in STEPS), *(heads[name] for name in READOUT_FIELDS))
    return b"".join(column.tobytes() for column in columns)


def check_model(settings: Settings) -> None:
    """Raise `UsageError` for an unknown model or preset, `CardError` where weights are missing."""
    if settings.preset not in ("auto", *PRESETS):
        raise UsageError(f"preset is {settings.preset!r}{nearest(settings.preset, PRESETS)}")
    base = settings.model.removesuffix(CONSISTENT)
    if ".json" not in base and base not in (*MODEL_NAMES, *PARTS):
        raise UsageError(f"unknown model {settings.model!r}{nearest(base, MODEL_NAMES)}")
    try:
        find_system(settings.model, preset=settings.preset, weights=settings.weights)
    except CardError:
        raise
    except ValueError as error:
        raise UsageError(str(error)) from error


def report_lines(found: Inspection, settings: Settings) -> list[tuple[str, str]]:
    """Return what to show, as (name, value)."""
    plan, encoding = found.plan, found.plan.encoding
    header = plan.header
    counts = {name: len({getattr(c, name) for c in plan.groups}) for name in NESTING}
    images = ", ".join(f"{n} {name}s" for name, n in counts.items() if n > 1)
    spare = ", ".join(f"{n} {name}" for name, n in plan.rejected.items())
    return [
        ("protocol", header.protocol_name or "not named"),
        ("system", _system(header)),
        ("kind", _kind(plan)),
        ("encoded", _space(encoding.encoding_matrix, encoding.encoding_fov_mm)),
        ("wanted", _space(encoding.recon_matrix, encoding.recon_fov_mm)),
        ("coils", str(plan.n_coils)),
        ("images", f"{len(plan.groups)}" + (f" ({images})" if images else "")),
        ("lines", f"{sum(map(len, plan.groups.values()))} for images, {len(plan.noise)} noise"),
        ("set aside", ", ".join(filter(None, (spare, _outside(found)))) or "nothing"),
        ("acceleration", f"{found.acceleration:.2f}"),
        ("calibration", _calibration(found)),
        ("averages", str(found.n_averages)),
        ("whitening", _whitening(plan, settings)),
        ("would do", _intention(found, settings)),
    ]


def _kind(plan: ScanPlan) -> str:
    n_spaces = len(plan.header.encodings)
    spaces = f", {n_spaces} encoding spaces" if n_spaces > 1 else ""
    return ("3-D Cartesian" if plan.encoding.is_3d else "2-D Cartesian") + spaces


def _calibration(found: Inspection) -> str:
    plan = found.plan
    kinds = sorted({c.kind for c in plan.calibration.values()})
    n_lines = sum(len(c.lines) for c in plan.calibration.values() if c.kind == "reference")
    words = {
        "shared": "one image of each slice for all",
        "frames": "average over the frames",
        "reference": f"{n_lines} reference lines",
    }
    source = " or ".join(words[k] for k in kinds) or "the centre of each image"
    mode = plan.encoding.calibration_mode
    return f"{mode}: ACS {_product(found.acs)} from {source}"


def _intention(found: Inspection, settings: Settings) -> str:
    plan = found.plan
    n_virtual = min(plan.n_coils, settings.n_virtual_coils)
    text = f"{settings.model}: {_product(found.lr_matrix)} -> {_product(found.hr_matrix)}, "
    text += f"{n_virtual} virtual coils"
    if found.n_without_acs:
        width = settings.kernel_width
        text += f"; {found.n_without_acs} fallback images, no ACS of {width} x {width}"
    return text


def _system(header: ScanHeader) -> str:
    field = f"{header.field_strength_t:g} T" if header.field_strength_t else ""
    return " ".join(filter(None, (header.system, field))) or "not named"


def _space(matrix: tuple[int, int, int], fov: tuple[float, float, float]) -> str:
    if matrix[0] > 1:
        size = f"{fov[0]:g} x {fov[1]:g} x {fov[2]:g} mm"
        return f"{_product(matrix)} (second phase x phase x readout), {size}"
    size = f"{fov[1]:g} x {fov[2]:g} mm, {fov[0]:g} mm thick"
    return f"{matrix[1]} x {matrix[2]} (phase x readout), {size}"


def _outside(found: Inspection) -> str:
    return f"{found.n_outside} outside the encoded matrix" if found.n_outside else ""


def _whitening(plan: ScanPlan, settings: Settings) -> str:
    if not settings.prewhiten:
        return "off"
    if settings.noise_file:
        return f"from the noise lines of {settings.noise_file}"
    return "from the noise lines" if len(plan.noise) else "no noise lines, noise level estimated"


def _product(matrix: tuple[int, ...]) -> str:
    return " x ".join(map(str, matrix))
