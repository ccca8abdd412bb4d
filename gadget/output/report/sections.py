"""The report from top to bottom: verdict, pictures, then `report_figures`."""

import base64
import math
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

import numpy as np

from gadget.output.picture import encode_png, grey_picture, heat_palette, indexed_picture, to_grey
from jrsr_core.data import Counters, ReconReport
from jrsr_core.mrd.images import WHITE, software_version
from jrsr_core.reconstruction.warnings import FIGURES, group_warnings, training_ranges
from jrsr_core.weights.card import WeightsCard

from .html import bar, cards, figure, gallery, heat_scale, legend, line_chart, section, table
from .views import View


def data_uri(p):
    return "data:image/png;base64," + base64.b64encode(encode_png(p)).decode("ascii")


RESEARCH = "Research use only. Not a medical device. A network draws what was not measured."


@dataclass(frozen=True, eq=False)
class ShownImage:
    """One image of the page: its number, counters, pictures and figures."""

    number: int
    counters: Counters
    view: View
    report: ReconReport

    @property
    def caption(self) -> str:
        """Name the image by the counters that are not zero."""
        names = ("contrast", "phase", "repetition", "set")
        more = [f"{n} {v}" for n in names if (v := getattr(self.counters, n))]
        text = ", ".join([f"slice {self.counters.slice}", *more])
        return f"{text}: FALLBACK" if self.report.fallback else text


@dataclass(frozen=True, eq=False)
class ScanPage:
    """Everything a page says; `middle` is the number of the image shown large."""

    name: str
    scan_sha256: str
    protocol: str
    system: str
    field_t: float | None
    settings: dict
    cards: tuple[WeightsCard, ...]
    reports: list[ReconReport]
    shown: list[ShownImage]
    hr_shape: tuple[int, ...]
    middle: int
    coverage: np.ndarray
    coils: list[np.ndarray]
    has_noise_lines: bool

    def sections(self) -> Iterator[str]:
        """Yield the page from top to bottom."""
        yield self._head()
        yield self._comparison()
        yield self._trust()
        if len(self.shown) > 1:
            yield self._gallery()
        yield figures_section(self.reports, has_noise_lines=self.has_noise_lines)
        report = self._hero.report
        yield measurement_section(report, self.coverage, self.coils, self.cards)
        yield settings_section(self.scan_sha256, self.settings, self.cards)
        yield f"<footer>{RESEARCH} JRSR {software_version()}.</footer>"

    @property
    def _hero(self) -> ShownImage:
        return next(image for image in self.shown if image.number == self.middle)

    @property
    def _top(self) -> float:
        """White of all images."""
        return float(np.quantile(np.concatenate([s.view.image.ravel() for s in self.shown]), 0.998))

    def _head(self) -> str:
        n_fallback = sum(bool(r.fallback) for r in self.reports)
        grouped = group_warnings(r.warnings for r in self.reports)
        notes = [f"{self._count(n)}: {text}" for text, n in grouped.items()]
        notes += [f"image {i}: {r.fallback}" for i, r in enumerate(self.reports, 1) if r.fallback][
            :20
        ]
        text, kind = "No warnings", "good"
        if n_fallback:
            text, kind = f"{n_fallback} of {len(self.reports)} are fallback images", "bad"
        elif notes:
            text, kind = f"{len(notes)} warnings" if len(notes) > 1 else "1 warning", "warn"
        size = " x ".join(map(str, self.hr_shape))
        scan = [self.protocol, self.system, f"{self.field_t:g} T" if self.field_t else ""]
        n = len(self.reports)
        facts = " · ".join(
            filter(None, [*scan, f"{n} image{'s' if n > 1 else ''} of {size}", self._model()])
        )
        listed = "".join(f"<li>{escape(note)}</li>" for note in notes)
        listed = f'<ul class="notes">{listed}</ul>' if listed else ""
        return (
            f"<header><h1>{escape(self.name)}</h1>"
            f'<div class="soft">{escape(facts)}</div>'
            f'<div class="status {kind}">{escape(text)}</div>{listed}</header>'
        )

    def _count(self, n: int) -> str:
        return "all images" if n == len(self.reports) else f"{n} of {len(self.reports)} images"

    def _model(self) -> str:
        if not self.cards:
            return self.reports[0].model
        return " + ".join(f"{c.model} {c.preset} {c.sha256[:8]}" for c in self.cards)

    def _comparison(self) -> str:
        image = self._hero
        view, top = image.view, self._top
        return section(
            "What came out",
            '<div class="row">',
            figure(
                self._grey(view.measured, top),
                "Measured",
                f"zero-filled, {_size(view.measured)}",
                aspect=view.aspect,
                kind="coarse",
            ),
            figure(
                self._grey(view.conventional, top),
                "CG-SENSE",
                f"interpolated to {_size(view.image)}",
                aspect=view.aspect,
            ),
            figure(
                self._grey(view.image, top),
                image.report.model,
                f"{_size(view.image)}",
                aspect=view.aspect,
                kind="main",
            ),
            "</div>",
            note=f"{image.caption}; all on one grey scale.",
        )

    def _trust(self) -> str:
        view = self._hero.view
        colors = [f"rgb({r},{g},{b})" for r, g, b in heat_palette()[::51]]
        maps = [
            figure(self._heat(view.maps[name]), title, note, aspect=view.aspect, kind=kind)
            for name, title, note, kind in _MAPS
            if name in view.maps
        ]
        text = "No maps: this is a fallback image, the network had no part in it."
        if maps:
            scale = heat_scale(colors, "0", f"{WHITE:.0%} of white in the images")
            text = f'<div class="row">{"".join(maps)}</div>{scale}'
        return section("What may be made up", text, note=_HOW_TO_READ)

    def _gallery(self) -> str:
        top = self._top
        names = ["JRSR", "CG-SENSE", "Measured", "Hallucination map"]
        if not any(s.view.maps for s in self.shown):
            names.pop()
        tiles = []
        for image in self.shown:
            v = image.view
            uris = [self._grey(v.image, top), self._grey(v.conventional, top)]
            uris.append(self._grey(v.measured, top))
            if len(names) > 3:
                blank = np.zeros_like(v.image)
                uris.append(self._heat(v.maps.get("hallucination", blank)))
            tiles.append((image.caption, uris, v.aspect))
        n = len(self.reports)
        note = f"{len(self.shown)} of {n} images, evenly spread." if n > len(self.shown) else ""
        return section("All images", gallery(names, tiles), note=note)

    def _grey(self, image: np.ndarray, top: float) -> str:
        return data_uri(grey_picture(image, top))

    def _heat(self, values: np.ndarray) -> str:
        # 32 steps are enough for a map, and take half the room.
        steps = to_grey(values, WHITE * self._top) // 8 * 8
        return data_uri(indexed_picture(steps, heat_palette()))


_MAPS = (
    ("taken_back", "Against the measurement", "drawn, but the measured samples say otherwise", ""),
    ("unmeasured", "From the network", "its share of the image, beside that of the samples", ""),
    ("hallucination", "Hallucination map", "the first, and what is odd in the second", "main"),
)
_HOW_TO_READ = (
    "Bright spots inside the object deserve a second look: a structure seen here and not in the "
    "CG-SENSE image may not exist. Edges are always bright in the second map, because their finest "
    "detail is beyond what was measured; the hallucination map takes of it what is stronger than "
    "the measured detail around it."
)


def _size(image: np.ndarray) -> str:
    return " x ".join(map(str, image.shape))


# FOLDED gadget/export/report_figures.py: Figures, measurement and settings: the lower half of the report.
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
    picture = indexed_picture(codes, np.array(COVERAGE))
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
        f'<img alt="coil {i}" src="{data_uri(grey_picture(m, float(m.max())))}">'
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
