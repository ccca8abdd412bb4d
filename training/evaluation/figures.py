"""Draws figures like the paper's 4 to 10: image, magnified part and error of every system.

Systems stand side by side, at most `MAX_COLUMNS` in a row, the ground truth last. Below the name
stand PSNR and, if the weights of their networks are given, LPIPS and the SqueezeNet distance.
Images share one grey scale; errors have a colour scale that ends at 1 / `ERROR_GAIN` of it.
"""

import io
import math
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor
from torch.nn.functional import avg_pool2d

from jrsr_core.common.atomic import check_target, write_bytes
from jrsr_core.metrics.image import psnr
from training.data.testset import find_slices, scan_slice
from training.errors import UsageError

from .evaluate import Distance, load_systems

ERROR_GAIN = 5
MAX_COLUMNS = 4
MAGNIFICATION = 4

WIDTH_MM = 85.0
"""Width of one column of a journal."""

MM_PER_INCH = 25.4
GAP_MM, SCALE_MM = 0.7, 9.0
"""Space between pictures, and for the scale of the errors below them."""

FONT_PT = 6.0
LINE_MM = 1.3 * FONT_PT / 72 * MM_PER_INCH
DPI = 600

METADATA: dict[str, dict[str, str | None]] = {
    ".png": {},
    ".pdf": {"CreationDate": None},
    ".svg": {"Date": None},
}
"""File formats, and metadata left out so that the same figure is the same file."""

DISTANCES = {"lpips": "LPIPS", "squeezenet_distance": "SqueezeNet distance"}

Part = tuple[int, int, int]
"""A square of an image: y and x of its corner, and its size, in pixels."""


@dataclass(frozen=True, eq=False)
class Panel:
    """Name, magnitude ``(y, x)`` and scores of one system; the truth has no scores."""

    name: str
    image: Tensor
    scores: list[str]


def most_detailed(truth: Tensor) -> Part:
    """Return the square of a quarter of the image's smaller side with the largest variance."""
    size = min(truth.shape) // MAGNIFICATION
    mean = avg_pool2d(truth[None, None], size, 1)
    variance = (avg_pool2d(truth.square()[None, None], size, 1) - mean.square())[0, 0]
    y, x = divmod(int(variance.argmax()), variance.shape[1])
    return y, x, size


def parse_part(text: str, shape: tuple[int, int]) -> Part:
    """Return the part that "y,x,size" describes.

    Raises
    ------
    ValueError
        Not three whole numbers, or a square that leaves the image.
    """
    try:
        y, x, size = (int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"zoom is {text!r}, expected y,x,size") from None
    if min(y, x) < 0 or size < 2 or y + size > shape[0] or x + size > shape[1]:
        raise UsageError(f"zoom {text} leaves the image of {shape[0]} x {shape[1]}")
    return y, x, size


def draw_figure(
    models: list[str],
    protocol: str,
    data: Path,
    index: int,
    *,
    zoom: str | None = None,
    distances: dict[str, Distance] | None = None,
) -> Figure:
    """Reconstruct slice `index` of `data` with every system and return the figure.

    Parameters
    ----------
    models, protocol, data
        As in `evaluate`.
    index
        Number of the slice among those with signal, from 0.
    zoom
        Part to magnify, "y,x,size"; None for the most detailed one.
    distances
        Further scores, by the names of `DISTANCES`.

    Raises
    ------
    ValueError
        The index or the part is outside; otherwise as `evaluate`.
    """
    slices = find_slices(data)
    if not 0 <= index < len(slices):
        raise UsageError(f"slice {index} asked for, {data} has {len(slices)} with signal")
    test = scan_slice(slices[index], protocol)
    truth = test.scan.truth
    part = most_detailed(truth) if zoom is None else parse_part(zoom, (len(truth), len(truth[0])))
    panels = []
    for label, system in load_systems(models).items():
        image = system(test).magnitude
        scores = [f"{float(psnr(image, truth)):.2f} dB"]
        for name, distance in (distances or {}).items():
            scores.append(f"{DISTANCES[name]} {float(distance(image[None], truth[None])):.4f}")
        panels.append(Panel(_short(label), image, scores))
    return lay_out([*panels, Panel("ground truth", truth, [])], part)


def _short(label: str) -> str:
    """Return a label as it is, of a weights card only the name of its file."""
    return Path(label).stem if label.endswith(".json") else label


def lay_out(panels: list[Panel], part: Part) -> Figure:
    """Return the figure of all panels, the last of which is the ground truth."""
    truth = panels[-1].image
    n_rows = math.ceil(len(panels) / MAX_COLUMNS)
    n_columns = math.ceil(len(panels) / n_rows)
    width = (WIDTH_MM - GAP_MM * (n_columns - 1)) / n_columns
    tall = width * truth.shape[0] / truth.shape[1]
    head = LINE_MM * (1 + max(len(panel.scores) for panel in panels))
    block = head + tall + width + tall + 3 * GAP_MM
    height = block * n_rows + SCALE_MM
    figure = Figure(figsize=(WIDTH_MM / MM_PER_INCH, height / MM_PER_INCH))

    def show(picture: Tensor, norm: Normalize, colours: str, x: float, y: float) -> Axes:
        """Show a picture, `width` wide, at `x` from the left and `y` from the top, in mm."""
        high = width * picture.shape[0] / picture.shape[1]
        box = (x / WIDTH_MM, 1 - (y + high) / height, width / WIDTH_MM, high / height)
        ax = figure.add_axes(box)
        ax.set_axis_off()
        ax.imshow(picture.numpy(), norm=norm, cmap=colours, aspect="auto")
        return ax

    grey, percent = Normalize(0, float(truth.max())), Normalize(0, 100 / ERROR_GAIN)
    y0, x0, size = part
    for i, panel in enumerate(panels):
        x, y = i % n_columns * (width + GAP_MM), i // n_columns * block
        lines = "\n".join([panel.name, *panel.scores])
        figure.text(x / WIDTH_MM, 1 - (y + head) / height, lines, size=FONT_PT, va="bottom")
        whole = show(panel.image, grey, "gray", x, y + head)
        corner = (x0 - 0.5, y0 - 0.5)
        whole.add_patch(Rectangle(corner, size, size, fill=False, ec="gold", lw=0.5))
        magnified = panel.image[y0 : y0 + size, x0 : x0 + size]
        show(magnified, grey, "gray", x, y + head + tall + GAP_MM)
        if panel is not panels[-1]:
            error = 100 / truth.max() * (panel.image - truth).abs()
            show(error, percent, "inferno", x, y + head + tall + width + 2 * GAP_MM)
    scale = figure.add_axes((0.15, 1 - (height - SCALE_MM + 2) / height, 0.7, 1.5 / height))
    errors = ScalarMappable(percent, "inferno")
    bar = figure.colorbar(errors, cax=scale, orientation="horizontal", ticks=range(0, 101, 5))
    text = f"absolute error [% of the largest true value], {ERROR_GAIN} x as bright as the images"
    bar.set_label(text, size=FONT_PT, labelpad=1)
    scale.tick_params(labelsize=FONT_PT, width=0.4, length=1.5, pad=1)
    return figure


def save_figure(figure: Figure, path: Path, dpi: int = DPI, *, overwrite: bool = False) -> None:
    """Write a figure in the format of the file name; `dpi` are the pixels per inch of a PNG."""
    ending = path.suffix.lower()
    # In memory: on a full disk, matplotlib ends a PDF with an error of its own.
    drawn = io.BytesIO()
    figure.savefig(drawn, format=ending[1:], dpi=dpi, metadata=METADATA[ending])
    write_bytes(path, drawn.getvalue(), overwrite=overwrite)


def check_figure(path: Path, *, overwrite: bool = False) -> None:
    """Raise `ValueError` or `OSError` before any work if a figure cannot be written there."""
    if path.suffix.lower() not in METADATA:
        raise UsageError(f"{path}: figures are {', '.join(METADATA)} files")
    path.parent.mkdir(parents=True, exist_ok=True)
    check_target(path, overwrite=overwrite)
