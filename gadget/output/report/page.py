"""Gathers what the report of a scan says; the template lays it out."""

import base64
import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import jinja2
import numpy as np
from PIL import Image

from gadget.output.base import ScanJob
from gadget.output.pictures.draw import (
    encode_png,
    grey_picture,
    heat_palette,
    indexed_picture,
    to_grey,
)
from gadget.plain_text import cut_text, plain
from jrsr_core.common.spelling import counted
from jrsr_core.common.version import software_version
from jrsr_core.data import MAP_ALARM, UNITLESS_MAPS, ReconReport
from jrsr_core.mrd.images import WHITE, white_of
from jrsr_core.reconstruction.warnings import FIGURES, group_warnings, training_ranges

from .chart import Chart, line_chart
from .marks import fallback_mark
from .views import View

MAX_FALLBACK_NOTES = 20

COVERAGE = (
    ("beyond the acquired resolution", (17, 22, 28)),
    ("skipped", (62, 74, 88)),
    ("measured", (47, 127, 196)),
    ("calibration", (242, 163, 58)),
)
"""Meaning and colour of the codes of `views.coverage`."""

MAX_NAME = 200
"""Characters of the longest name in a header that is shown whole."""

STEPS = (
    ("calibration", "calibration"),
    ("rec", "reconstruction"),
    ("sr", "super-resolution"),
    ("consistency", "data consistency"),
)
"""Steps of a reconstruction: key in `ReconReport.seconds`, and name."""


@dataclass(frozen=True, eq=False)
class ShownImage:
    """One image on the page."""

    caption: str
    view: View
    report: ReconReport


@dataclass(frozen=True, eq=False)
class ScanPage:
    """Content of the report of one scan.

    Attributes
    ----------
    job
        The scan.
    reports
        Reports of all images.
    shown
        Images that the page shows; the one in the middle is shown large.
    hr_shape
        Shape of an image.
    coverage, acceleration, coils
        `views.coverage`, the acceleration of the sampled part of k-space, and
        `views.coil_magnitudes`, all of the image that is shown large.
    """

    job: ScanJob
    reports: list[ReconReport]
    shown: list[ShownImage]
    hr_shape: tuple[int, ...]
    coverage: np.ndarray
    acceleration: float
    coils: list[np.ndarray]

    @property
    def facts(self) -> list[str]:
        """Protocol, system, field strength, number and size of the images, model."""
        header, n, cards = self.job.plan.header, len(self.reports), self.job.engine.model.cards
        weights = " + ".join(f"{c.model} {c.preset} {c.sha256[:8]}" for c in cards)
        facts = [
            cut_text(header.protocol_name, MAX_NAME),
            cut_text(header.system, MAX_NAME),
            f"{header.field_strength_t:g} T" if header.field_strength_t else "",
            f"{counted(n, 'image')} of {' x '.join(map(str, self.hr_shape))}",
            weights or self.reports[0].model,
        ]
        return [fact for fact in facts if fact]

    @property
    def n_fallback(self) -> int:
        """Number of fallback images."""
        return sum(bool(r.fallback) for r in self.reports)

    @property
    def notes(self) -> list[str]:
        """Every kind of warning once, and the reasons for fallback images."""
        n = len(self.reports)
        grouped = group_warnings(r.warnings for r in self.reports)
        notes = [
            f"{'all images' if k == n else f'{k} of {n} images'}: {text}"
            for text, k in grouped.items()
        ]
        failed = [f"image {i}: {r.fallback}" for i, r in enumerate(self.reports, 1) if r.fallback]
        return notes + failed[:MAX_FALLBACK_NOTES]

    @property
    def hero(self) -> ShownImage:
        """The image that is shown large."""
        return self.shown[len(self.shown) // 2]

    @cached_property
    def top(self) -> float:
        """Value at which all images are white."""
        return white_of(np.concatenate([s.view.image.ravel() for s in self.shown]))

    @property
    def has_maps(self) -> bool:
        """Whether any image has maps."""
        return any(image.view.maps for image in self.shown)

    @property
    def modelled(self) -> list[ReconReport]:
        """Reports of the images that the model reconstructed."""
        return [r for r in self.reports if not r.fallback]

    @property
    def figures(self) -> list[tuple[str, str, str]]:
        """Name, value and meaning of the figures, as means over the images of the model."""
        made = self.modelled
        n_stated = sum(report.noise_stated for report in made)
        figures = [
            (
                "k-space residual",
                f"{_mean(made, 'kspace_residual'):.3f}",
                f"noise alone explains {_mean(made, 'expected_residual'):.3f}",
            ),
            ("against the measurement", _percent(_mean(made, "taken_back")), "of the image"),
            ("share of the network", _percent(_mean(made, "unmeasured")), "of the image"),
            (
                "signal-to-noise ratio",
                f"{_mean(made, 'snr_db'):.1f} dB",
                _noise_words(n_stated, len(made)),
            ),
        ]
        if any(r.denoise for r in made):
            strength = f"{max(r.denoise for r in made):g}"
            figures.append(("denoise", strength, "removes the measured noise, 0 keeps it"))
        if iterations := max(r.iterations for r in made):
            residual = max(r.fixed_point_residual for r in made)
            note = f"residual after at most {iterations} iterations"
            figures.append(("fixed point", f"{residual:.1e}", note))
        return [*figures, ("time per image", f"{self._seconds('total'):.2f} s", "mean")]

    @property
    def residuals(self) -> Chart:
        """Chart of the k-space residual of all images of the model, and of its noise part."""
        return line_chart(
            {
                "k-space residual": [r.kspace_residual for r in self.modelled],
                "explained by noise": [r.expected_residual for r in self.modelled],
            }
        )

    @property
    def seconds(self) -> dict[str, float]:
        """Mean time per step, without steps that took none."""
        return {name: s for key, name in STEPS if (s := self._seconds(key))}

    @property
    def legend(self) -> list[tuple[str, str]]:
        """Colour and meaning of the codes that the k-space coverage has."""
        present = set(np.unique(self.coverage))
        return [(f"rgb{color}", name) for i, (name, color) in enumerate(COVERAGE) if i in present]

    @property
    def training(self) -> list[tuple[str, str, str, bool]]:
        """Figure, its value in this scan, its range in the training, whether it is inside."""
        report = self.hero.report
        if report.fallback:
            return []
        values: dict[str, tuple[float, ...]] = {
            "n_coils": (report.n_virtual_coils,),
            "acceleration": (self.acceleration,),
            "n_acs": (min(report.acs_shape),),
            "hr_size": tuple(self.coverage.shape),
            "noise_db": (report.snr_db,),
        }
        cards = self.job.engine.model.cards
        ranges = [item for card in cards for item in training_ranges(card).items()]
        return [
            (
                FIGURES[name][0],
                " x ".join(f"{v:.4g}" for v in values[name]),
                f"{low:g} to {high:g}",
                not any(w.startswith(FIGURES[name][0]) for w in report.warnings),
            )
            for name, (low, high) in ranges
        ]

    @property
    def settings(self) -> list[tuple[str, str]]:
        """Everything that is needed to reconstruct the scan again."""
        rows = [
            ("scan sha256", _sha256(self.job.source)),
            ("software", f"JRSR {software_version()}"),
        ]
        for card in self.job.engine.model.cards:
            rows += [
                ("weights", f"{card.model} {card.preset}"),
                ("weights sha256", card.sha256),
                ("trained on", card.data),
                ("training commit", card.commit),
            ]
        rows += [(name, str(value)) for name, value in self.job.settings.model_dump().items()]
        return [(name, value or "none") for name, value in rows]

    def render(self) -> str:
        """Return the HTML page, which needs no other file."""
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
            autoescape=True,
            finalize=_printable,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.do"],
        )
        environment.globals["zip"] = zip
        environment.filters |= {"grey": self._grey, "heat": self._heat, "size": _size}
        return environment.get_template("report.html.j2").render(
            page=self,
            fallback_mark=fallback_mark(self.n_fallback, len(self.reports)),
            coverage=_data_uri(
                indexed_picture(self.coverage, np.array([color for _, color in COVERAGE]))
            ),
            heat_colors=[f"rgb({r},{g},{b})" for r, g, b in heat_palette()[::51]],
            alarm=MAP_ALARM,
            map_white=WHITE,
            version=software_version(),
        )

    def _grey(self, image: np.ndarray, top: float | None = None) -> str:
        """Return the address of a grey picture, by default on the scale of all images."""
        return _data_uri(grey_picture(image, self.top if top is None else top))

    def _heat(self, values: np.ndarray, name: str) -> str:
        """Return the address of a picture of the map of this name.

        `UNITLESS_MAPS` count multiples of what is expected; the others are images.
        """
        white = MAP_ALARM if name in UNITLESS_MAPS else WHITE * self.top
        # 32 steps are enough for a map, and halve the size of the file.
        steps = to_grey(values, white) // 8 * 8
        return _data_uri(indexed_picture(steps, heat_palette()))

    def _seconds(self, key: str) -> float:
        made = self.modelled
        return sum(r.seconds.get(key, 0.0) for r in made) / len(made)


def _data_uri(picture: Image.Image) -> str:
    return "data:image/png;base64," + base64.b64encode(encode_png(picture)).decode("ascii")


def _size(image: np.ndarray) -> str:
    return " x ".join(map(str, image.shape))


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def _printable(value: object) -> object:
    """Escape control characters of a text; pictures and finished HTML have none."""
    return plain(value, len(value)) if type(value) is str and not value.isprintable() else value


def _mean(reports: list[ReconReport], name: str) -> float:
    return sum(getattr(r, name) for r in reports) / len(reports)


def _percent(value: float) -> str:
    return "not known" if math.isnan(value) else f"{100 * value:.1f} %"


def _noise_words(n_stated: int, n: int) -> str:
    """Return where the noise level of n images comes from; `n_stated` were stated with the samples.

    A stated level that is far too high is replaced by an estimate (`stated_noise`).
    """
    if n_stated == n:
        return "as the noise data state it"
    return "estimated from the samples" + (f" in {n - n_stated} of {n} images" if n_stated else "")
