"""Figures, measurement and settings: the lower half of the report."""

import math

import numpy as np

from jrsr_core.drawing import to_grey
from jrsr_core.geometry import ReconReport
from jrsr_core.mrd.images import software_version
from jrsr_core.trust import FIGURES, training_ranges
from jrsr_core.weights import WeightsCard

from .page import bar, cards, figure, legend, line_chart, section, table
from .small_png import data_uri, encode_small

COVERAGE = ((17, 22, 28), (62, 74, 88), (47, 127, 196), (242, 163, 58))
"""Colours of the codes of `views.coverage`."""

_PARTS = {
    "calibration": "calibration",
    "rec": "reconstruction",
    "sr": "super-resolution",
    "consistency": "data consistency",
}


def figures_section(reports: list[ReconReport], *, has_noise_lines: bool) -> str:
    """Return what was achieved: residuals, noise, equilibrium, time."""
    made = [r for r in reports if not r.fallback]
    if not made:
        return ""
    source = "from noise lines" if has_noise_lines else "estimated, no noise lines"
    residual, expected = _mean(made, "kspace_residual"), _mean(made, "expected_residual")
    entries = [
        ("k-space residual", f"{residual:.3f}", f"noise alone explains {expected:.3f}"),
        ("against the measurement", _percent(_mean(made, "taken_back")), "of the image"),
        ("from the network", _percent(_mean(made, "unmeasured")), "of the image"),
        ("signal to noise", f"{_mean(made, 'snr_db'):.1f} dB", source),
    ]
    iterations = max(r.iterations for r in made)
    if iterations:
        fixed = max(r.fixed_point_residual for r in made)
        entries.append(("equilibrium", f"{fixed:.1e}", f"reached in {iterations} iterations"))
    total = sum(r.seconds.get("total", 0.0) for r in made) / len(made)
    entries.append(("time per image", f"{total:.2f} s", "mean over the images"))
    parts = cards(entries)
    if len(made) > 2:
        curves = {
            "k-space residual": [r.kspace_residual for r in made],
            "explained by noise": [r.expected_residual for r in made],
        }
        parts += "<h3>Agreement with the measurement</h3>" + line_chart(
            curves, ("var(--accent)", "var(--soft)")
        )
    names = [n for n in ("calibration", "rec", "sr", "consistency") if n in made[0].seconds]
    seconds = {n: sum(r.seconds.get(n, 0.0) for r in made) / len(made) for n in names}
    seconds = {_PARTS[n]: value for n, value in seconds.items() if value}
    if seconds:
        parts += "<h3>Time per image</h3>" + bar(seconds, "s")
    return section("Figures", parts)


def measurement_section(
    report: ReconReport,
    codes: np.ndarray,
    coils: list[np.ndarray],
    weights: tuple[WeightsCard, ...],
) -> str:
    """Return what was measured: k-space coverage, coils, and whether the training was alike."""
    picture = encode_small(codes, np.array(COVERAGE, np.uint8))
    colors = [f"rgb{color}" for color in COVERAGE]
    names = ("beyond the acquired resolution", "skipped", "measured", "calibration")
    present = set(np.unique(codes))
    key = legend((colors[i], names[i]) for i in range(4) if i in present)
    share = float((codes >= 2).mean())
    ny, nx = codes.shape
    left = figure(
        data_uri(picture),
        "k-space of the image",
        f"{share:.0%} of {ny} x {nx} samples were measured",
        aspect=nx / ny,
        kind="coarse",
    )
    tiles = "".join(
        f'<img alt="coil {i}" src="{data_uri(encode_small(to_grey(m, float(m.max()))))}">'
        for i, m in enumerate(coils, 1)
    )
    right = (
        f'<figure><div class="coils">{tiles}</div><figcaption>{len(coils)} virtual coils'
        f"<small>sensitivities from {report.acs_shape[0]} x {report.acs_shape[1]} samples, "
        "each on its own scale</small></figcaption></figure>"
    )
    rows = _training_rows(report, codes, weights)
    below = ""
    if rows:
        header = ("", "this scan", "training", "")
        below = "<h3>Like the training?</h3>" + table(header, rows)
    return section(
        "What was measured",
        f'<div class="pair"><div class="plane">{left}{key}</div>{right}</div>{below}',
    )


def _training_rows(
    report: ReconReport, codes: np.ndarray, weights: tuple[WeightsCard, ...]
) -> list[tuple[str, str, str, str]]:
    rows: list[tuple[str, str, str, str]] = []
    if report.fallback:
        return []
    values = {
        "n_coils": (report.n_virtual_coils,),
        "acceleration": (report.acceleration,),
        "n_acs": (min(report.acs_shape),),
        "hr_size": tuple(codes.shape),
        "noise_db": (report.snr_db,),
    }
    ranges = [item for card in weights for item in training_ranges(card).items()]
    for name, (low, high) in ranges:
        label = FIGURES[name][0]
        is_fine = not any(w.startswith(label) for w in report.warnings)
        mark = '<span class="good">inside</span>' if is_fine else '<b class="warn">outside</b>'
        shown = " x ".join(f"{v:.4g}" for v in values[name])
        rows.append((label, shown, f"{low:g} to {high:g}", mark))
    return rows


def settings_section(scan_sha256: str, settings: dict, weights: tuple[WeightsCard, ...]) -> str:
    """Return everything that it takes to do it again."""
    rows = [("scan sha256", scan_sha256), ("software", f"JRSR {software_version()}")]
    for card in weights:
        rows += [
            ("weights", f"{card.model} {card.preset}"),
            ("weights sha256", card.sha256),
            ("trained on", card.data),
            ("training commit", card.commit),
        ]
    rows += [(name, str(value)) for name, value in settings.items()]
    body = table((), [(name, value or "none") for name, value in rows], mono=1)
    summary = "<summary>Settings and hashes</summary>"
    return f"<section><details open>{summary}{body}</details></section>"


def _mean(reports: list[ReconReport], name: str) -> float:
    return sum(getattr(r, name) for r in reports) / len(reports)


def _percent(value: float) -> str:
    return "not known" if math.isnan(value) else f"{100 * value:.1f} %"
