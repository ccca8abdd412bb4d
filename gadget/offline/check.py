"""`jrsr check`: what a scan contains, whether it is supported and how it would be reconstructed."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gadget.compute.model import check_model
from gadget.console import print_json, print_line, print_warning
from gadget.errors import Exit, describe, exit_code, most_severe
from gadget.plain_text import cut_text
from gadget.scan.inspect import Inspection, SpaceInspection, inspect_scan
from gadget.settings import Settings
from jrsr_core.common.spelling import counted
from jrsr_core.models.names import has_consistency
from jrsr_core.mrd.assembly.notes import broken_note
from jrsr_core.mrd.errors import UnsupportedScan
from jrsr_core.mrd.files.other_groups import OpenScan
from jrsr_core.mrd.files.other_noise import other_noise
from jrsr_core.mrd.files.sandbox import Sandbox
from jrsr_core.mrd.lines.acquired import NESTING
from jrsr_core.mrd.noise.measured import noise_for_whitening
from jrsr_core.mrd.planning.plan import ScanPlan
from jrsr_core.reconstruction.warnings import beyond_the_coils, unlike_any
from jrsr_core.weights.card import CardError
from jrsr_core.weights.find import system_cards, system_name

from .scans import Found, open_scan

WIDTH = 84
"""Characters of a value per line."""

MAX_VALUE = 1000
"""Characters of the longest value that is printed whole."""

ACS_SOURCES = {
    "shared": "one image of each slice for all",
    "frames": "average over the frames",
    "reference": "{} reference lines",
    "volume": "{} lines of a reference volume, at the place of each slice",
}


@dataclass(frozen=True, eq=False)
class Checked:
    """What the check of one file has found; `rows` and `found` only if it is supported."""

    path: Path
    code: Exit
    reason: str = ""
    rows: Sequence[tuple[str, str]] = ()
    found: Inspection | None = None


def check_scans(
    found: Found, settings: Settings, *, dataset: str = "", as_json: bool = False
) -> Exit:
    """Print the content of scans and what `jrsr recon` would do with them.

    `dataset` is the group of the files to read. Returns the most severe exit code.

    Raises
    ------
    UsageError
        Unknown model or preset.
    """
    check_model(settings)
    results = []
    with Sandbox() as sandbox:
        for path in found.scans:
            place = sandbox if path in found.sandboxed else None
            results.append(_check_scan(path, settings, place, dataset))
            if not as_json:
                _print(results[-1])
    if as_json:
        print_json([_as_json(result) for result in results])
    return most_severe([result.code for result in results])


def _check_scan(path: Path, settings: Settings, sandbox: Sandbox | None, dataset: str) -> Checked:
    try:
        with open_scan(path, sandbox, dataset=dataset) as scan:
            found = inspect_scan(scan.header, scan, settings)
            whitening = _whitening(scan, found.plan, settings)
            rows = _dataset_row(scan) + report_rows(found, whitening, settings)
    except (OSError, ValueError) as error:
        declined = "declined: " if isinstance(error, UnsupportedScan) else ""
        return Checked(path, exit_code(error), f"{declined}{describe(error)}")
    return Checked(path, Exit.DONE, rows=rows, found=found)


def _print(result: Checked) -> None:
    if result.found is None:
        print_warning(f"{result.path.name}: {result.reason}")
        return
    print_line(str(result.path))
    for name, value in result.rows:
        lines = textwrap.wrap(
            cut_text(value, MAX_VALUE), WIDTH, break_long_words=False, break_on_hyphens=False
        )
        for i, line in enumerate(lines):
            print_line(f"  {'' if i else name:<13} {line}")


def _as_json(result: Checked) -> dict[str, Any]:
    """Return the texts of the printed table, in their order, and the numbers behind them."""
    entry: dict[str, Any] = {"file": str(result.path), "exit_code": int(result.code)}
    entry |= {"supported": result.found is not None, "reason": result.reason}
    if result.found is None:
        return entry
    plan = result.found.plan
    spaces = [
        {
            "number": space.number,
            "is_3d": space.encoding.is_3d,
            "images": space.n_images,
            "images_without_acs": space.n_without_acs,
            "incomplete_images": sum(c.encoding == space.number for c in plan.incomplete),
            "lr_matrix": list(space.lr_matrix),
            "hr_matrix": list(space.hr_matrix),
            "acs": list(space.acs),
            "acceleration": round(float(space.acceleration), 4),
            "averages": int(space.n_averages),
        }
        for space in result.found.spaces
    ]
    rows = [[name, cut_text(value, MAX_VALUE)] for name, value in result.rows]
    return entry | {"coils": plan.n_coils, "encodings": spaces, "rows": rows}


def _dataset_row(scan: OpenScan) -> list[tuple[str, str]]:
    """Return which of several groups of the file was read."""
    if len(scan.datasets) < 2:
        return []
    others = ", ".join(name for name in scan.datasets if name != scan.dataset)
    return [("dataset", f"{scan.dataset}; others in the file (--dataset): {others}")]


def report_rows(found: Inspection, whitening: str, settings: Settings) -> list[tuple[str, str]]:
    """Return the rows of the printed table as (name, value)."""
    plan, header = found.plan, found.plan.header
    counts = {name: len({getattr(c, name) for c in plan.groups}) for name in NESTING}
    images = ", ".join(f"{n} {name}s" for name, n in counts.items() if n > 1)
    unused = [f"{n} {name}" for name, n in plan.rejected.items()]
    field = f"{header.field_strength_t:g} T" if header.field_strength_t else ""
    rows = [
        ("protocol", header.protocol_name or "not named"),
        ("system", " ".join(filter(None, (header.system, field))) or "not named"),
        ("coils", str(plan.n_coils)),
        ("images", f"{len(plan.groups)}" + (f" ({images})" if images else "")),
        ("lines", f"{sum(map(len, plan.groups.values()))} for images, {len(plan.noise)} noise"),
        ("set aside", ", ".join(unused) or "nothing"),
        ("whitening", whitening),
        ("decided", "; ".join(_decisions(plan)) or "nothing against the header"),
    ]
    if plan.volume_notes:
        rows.append(("missing", "; ".join(dict.fromkeys(plan.volume_notes.values()))))
    for space in found.spaces:
        if len(found.spaces) > 1:
            rows.append((f"encoding {space.number}", f"{space.n_images} images, a separate series"))
        rows += _space_rows(space, plan, settings)
    return rows


def _space_rows(
    space: SpaceInspection, plan: ScanPlan, settings: Settings
) -> list[tuple[str, str]]:
    encoding, n_spaces = space.encoding, len(plan.header.encodings)
    kind = "3-D Cartesian" if encoding.is_3d else "2-D Cartesian"
    return [
        ("kind", kind + (f", {n_spaces} encoding spaces" if n_spaces > 1 else "")),
        ("encoded", _space(encoding.encoding_matrix, encoding.encoding_fov_mm)),
        ("wanted", _space(encoding.recon_matrix, encoding.recon_fov_mm)),
        ("readout", _readout(space, settings)),
        ("acceleration", _acceleration(space, plan, settings)),
        ("averages", str(space.n_averages)),
        ("calibration", _calibration(space, plan)),
        ("would do", _intention(space, plan, settings)),
        ("unlike training", _unlike_training(space, plan, settings)),
    ]


def _acceleration(space: SpaceInspection, plan: ScanPlan, settings: Settings) -> str:
    warnings = beyond_the_coils(_n_virtual_coils(plan, settings), space.sampled_acceleration)
    figure = f"{space.acceleration:.2f}"
    if space.sampled_acceleration < space.acceleration:
        figure += f" ({space.sampled_acceleration:.2f} without what one end of k-space lacks)"
    return "; ".join((figure, *warnings))


def _n_virtual_coils(plan: ScanPlan, settings: Settings) -> int:
    """Return the number of coils that the model gets."""
    return min(plan.n_coils - len(plan.broken_coils), settings.n_virtual_coils)


def _decisions(plan: ScanPlan) -> list[str]:
    """Return what is decided against the header, each decision once."""
    several = len(plan.notes) > 1
    found = {
        note: f"encoding {space}: {note}" if several else note
        for space, notes in plan.notes.items()
        for note in notes
    }
    if plan.broken_coils:
        found["coils"] = broken_note(plan.broken_coils)
    return list(found.values())


def _whitening(scan: OpenScan, plan: ScanPlan, settings: Settings) -> str:
    """Return where the noise comes from, and what was decided about it."""
    if not settings.prewhiten:
        return "off"
    other = other_noise(scan, plan, settings.noise_file)
    noise, note = noise_for_whitening(scan, plan, plan.broken_coils, other)
    if noise is None:
        return note or "no noise lines, noise level estimated"
    source = "from the noise lines" + (f" of {noise.place}" if noise.place else "")
    return "; ".join(filter(None, (source, note)))


def _space(matrix: tuple[int, int, int], fov: tuple[float, float, float]) -> str:
    if matrix[0] > 1:
        size = f"{fov[0]:g} x {fov[1]:g} x {fov[2]:g} mm"
        return f"{_product(matrix)} (second phase x phase x readout), {size}"
    size = f"{fov[1]:g} x {fov[2]:g} mm, {fov[0]:g} mm thick"
    return f"{_product(matrix[1:])} (phase x readout), {size}"


def _readout(space: SpaceInspection, settings: Settings) -> str:
    """Return the number of samples, and how an HR readout or asymmetric echo is used."""
    n, n_lr = space.encoding.readout_size, space.encoding.lr_readout_size
    text = f"{n} samples"
    if n_lr is not None:
        text += f" (high resolution already: {n_lr} central ones for the model, "
        model = system_name(settings.model)
        unused = f"the outer ones not used by {model})"
        text += "all for HR consistency)" if has_consistency(model) else unused
    if space.echo < 1:
        text += f", asymmetric echo: {100 * space.echo:.0f} % measured, "
        text += "the rest zero-filled" if space.encoding.is_3d else "the rest left to the model"
    return text


def _calibration(space: SpaceInspection, plan: ScanPlan) -> str:
    chosen = [c for key, c in plan.calibration.items() if key.encoding == space.number]
    parts = []
    for kind in sorted({c.kind for c in chosen}):
        lines = {c.lines.tobytes(): len(c.lines) for c in chosen if c.kind == kind}
        parts.append(ACS_SOURCES[kind].format(sum(lines.values())))
    if len(chosen) == space.n_images and parts == [ACS_SOURCES["shared"]]:
        parts = ["the centre of each image"]
    source = " or ".join(parts)
    return f"{space.encoding.calibration_mode}: ACS {_product(space.acs)} from {source}"


def _intention(space: SpaceInspection, plan: ScanPlan, settings: Settings) -> str:
    text = f"{settings.model}: {_product(space.lr_matrix)} -> {_product(space.hr_matrix)}, "
    text += counted(_n_virtual_coils(plan, settings), "virtual coil")
    if space.n_without_acs:
        images = counted(space.n_without_acs, "fallback image")
        names = (" lines", " partitions") if space.encoding.is_3d else ("", "")
        needed = " x ".join(f"{n}{name}" for n, name in zip(space.kernel, names, strict=True))
        text += f"; {images}, no ACS of {needed}"
    broken_off = {c: r for c, r in plan.incomplete.items() if c.encoding == space.number}
    if broken_off:
        reasons = ", ".join(dict.fromkeys(broken_off.values()))
        text += f"; {counted(len(broken_off), 'fallback image')}: {reasons}"
    return text


def _unlike_training(space: SpaceInspection, plan: ScanPlan, settings: Settings) -> str:
    """Return what the header states that is outside the range of the training data."""
    try:
        cards = system_cards(settings.model, preset=settings.preset, weights=settings.weights)
    except (CardError, OSError) as error:
        return f"not known: {error}"
    if not cards:
        return "has no weights"
    if not any(card.range for card in cards):
        return "not known: the card states no ranges"
    found = unlike_any(
        cards,
        n_coils=_n_virtual_coils(plan, settings),
        acceleration=space.sampled_acceleration,
        n_acs=min(space.acs),
        hr_size=space.hr_matrix[:2] if space.encoding.is_3d else space.hr_matrix,
    )
    return "; ".join(found) or "nothing that the header states"


def _product(matrix: tuple[int, ...]) -> str:
    return " x ".join(map(str, matrix))
