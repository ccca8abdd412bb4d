"""What a scan contains and what would be done with it, found without reading a sample.

`recon` takes the same decision by the same function, so that `check` never promises what `recon`
declines.
"""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from jrsr_core.calibration.acs import find_acs
from jrsr_core.models import MODEL_NAMES, PRESETS
from jrsr_core.mrd.assemble import line_counts, lines_outside
from jrsr_core.mrd.errors import UnsupportedScan
from jrsr_core.mrd.header import ScanHeader
from jrsr_core.mrd.plan import NESTING, ScanPlan, plan_scan
from jrsr_core.mrd.readout import readout_size

from .errors import UsageError
from .settings import Settings, nearest

SR_FACTOR = 2
READOUT_FIELDS = ("number_of_samples", "center_sample", "discard_pre", "discard_post", "flags")


@dataclass(frozen=True, eq=False)
class Inspection:
    """A plan and its consequences.

    `acs` is the smallest calibration block ``(y, x)`` among the usable slices, `n_without_acs` the
    number of slices that will be fallback images, `acceleration` the mean over the slices.
    """

    plan: ScanPlan
    acs: tuple[int, int]
    n_without_acs: int
    acceleration: float
    n_averages: int
    n_outside: int

    @property
    def lr_matrix(self) -> tuple[int, int]:
        """Acquired grid (y, x) after removal of readout oversampling."""
        return (self.plan.encoding.encoding_matrix[1], readout_size(self.plan.encoding))

    @property
    def hr_matrix(self) -> tuple[int, int]:
        """Matrix (y, x) of the images after removal of phase oversampling."""
        wanted, encoded = self.plan.encoding.recon_fov_mm, self.plan.encoding.encoding_fov_mm
        ny, nx = (SR_FACTOR * n for n in self.lr_matrix)
        return (round(ny * min(1.0, wanted[1] / encoded[1])), nx)


def inspect_scan(header: ScanHeader, heads: np.ndarray, settings: Settings) -> Inspection:
    """Plan a scan and check that it can be calibrated.

    Raises
    ------
    UnsupportedScan, BadScan
        The scan is declined, or broken.
    """
    plan = plan_scan(header, heads)
    width = settings.kernel_width
    lr_matrix = (plan.encoding.encoding_matrix[1], readout_size(plan.encoding))
    if min(lr_matrix) < 2 * width:
        raise UnsupportedScan(
            f"matrix {lr_matrix[0]} x {lr_matrix[1]} is too small for a kernel of {width}: "
            f"at least {2 * width} x {2 * width}"
        )
    sizes: dict[bytes, tuple[tuple[int, int], float, int]] = {}
    blocks, accelerations, averages = [], [], []
    for lines in plan.groups.values():
        group = heads[lines]
        columns = (group["idx"]["kspace_encode_step_1"], *(group[name] for name in READOUT_FIELDS))
        key = b"".join(column.tobytes() for column in columns)
        if key not in sizes:
            counts = line_counts(group, plan.encoding)
            acs = _acs_size(counts)
            sizes[key] = (acs, counts.numel() / float((counts > 0).sum()), int(counts.max()))
        for target, value in zip((blocks, accelerations, averages), sizes[key], strict=True):
            target.append(value)
    usable = [b for b in blocks if min(b) >= width]
    if not usable:
        ay, ax = max(blocks)
        raise UnsupportedScan(
            f"no usable ACS: the fully sampled centre is {ay} x {ax}, "
            f"the kernel needs {width} x {width}"
        )
    return Inspection(
        plan=plan,
        acs=min(usable),
        n_without_acs=len(blocks) - len(usable),
        acceleration=float(np.mean(accelerations)),
        n_averages=max(averages),
        n_outside=lines_outside(heads[np.concatenate(list(plan.groups.values()))], plan.encoding),
    )


def check_model(settings: Settings) -> None:
    """Raise `UsageError` for an unknown model or preset."""
    if not settings.model.endswith(".json") and settings.model not in MODEL_NAMES:
        raise UsageError(f"unknown model {settings.model!r}{nearest(settings.model, MODEL_NAMES)}")
    if settings.preset not in ("auto", *PRESETS):
        raise UsageError(f"preset is {settings.preset!r}{nearest(settings.preset, PRESETS)}")


def report_lines(found: Inspection, settings: Settings) -> list[tuple[str, str]]:
    """Return what to show, as (name, value)."""
    plan, encoding = found.plan, found.plan.encoding
    header = plan.header
    counts = {name: len({getattr(c, name) for c in plan.groups}) for name in NESTING}
    images = ", ".join(f"{n} {name}s" for name, n in counts.items() if n > 1)
    spare = ", ".join(f"{n} {name}" for name, n in plan.rejected.items())
    fallback = f"; {found.n_without_acs} slices without ACS become fallback images"
    return [
        ("protocol", header.protocol_name or "not named"),
        ("system", _system(header)),
        ("encoded", _space(encoding.encoding_matrix, encoding.encoding_fov_mm)),
        ("wanted", _space(encoding.recon_matrix, encoding.recon_fov_mm)),
        ("coils", str(plan.n_coils)),
        ("images", f"{len(plan.groups)}" + (f" ({images})" if images else "")),
        ("lines", f"{sum(map(len, plan.groups.values()))} for images, {len(plan.noise)} noise"),
        ("set aside", ", ".join(filter(None, (spare, _outside(found)))) or "nothing"),
        ("acceleration", f"{found.acceleration:.2f}, ACS {found.acs[0]} x {found.acs[1]}"),
        ("averages", str(found.n_averages)),
        ("whitening", _whitening(plan, settings)),
        (
            "would do",
            f"{settings.model}: {_product(found.lr_matrix)} -> {_product(found.hr_matrix)}, "
            f"{min(plan.n_coils, settings.n_virtual_coils)} virtual coils"
            + (fallback if found.n_without_acs else ""),
        ),
    ]


def _acs_size(counts: Tensor) -> tuple[int, int]:
    try:
        rows, columns = find_acs(counts)
    except ValueError:
        return (0, 0)
    return (rows.stop - rows.start, columns.stop - columns.start)


def _system(header: ScanHeader) -> str:
    field = f"{header.field_strength_t:g} T" if header.field_strength_t else ""
    return " ".join(filter(None, (header.system, field))) or "not named"


def _space(matrix: tuple[int, int, int], fov: tuple[float, float, float]) -> str:
    size = f"{fov[1]:g} x {fov[2]:g} mm, {fov[0]:g} mm thick"
    return f"{matrix[1]} x {matrix[2]} (phase x readout), {size}"


def _outside(found: Inspection) -> str:
    return f"{found.n_outside} outside the encoded matrix" if found.n_outside else ""


def _whitening(plan: ScanPlan, settings: Settings) -> str:
    if not len(plan.noise):
        return "no noise lines, noise level unknown"
    return "from the noise lines" if settings.prewhiten else "off"


def _product(matrix: tuple[int, int]) -> str:
    return f"{matrix[0]} x {matrix[1]}"
