"""Draw the tables of `generalisation` as curves; needs matplotlib.

    python -m tests.benchmarks.generalisation --data brain_test.h5 > curves.md
    python -m tests.benchmarks.draw_curves curves.md curves.png

Tables are taken from any Markdown file; those of other benchmarks are passed over.
"""

import argparse
import re
from pathlib import Path

from .generalisation import UPPER_REFERENCE

CELL = re.compile(r"(-?[\d.]+) \(([\d.]+)(?:, ([\d.]+))?\)")
N_COLUMNS = 3
COLOURS = ("#888888", "#d95f02", "#1b6ca8", "#7570b3")


def read_tables(text):
    """Return ``{curve: (systems, [(label, [PSNR]), ...])}`` of the curves in a text."""
    tables, now = {}, None
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if cells[0] in AXES:
            now = tables[cells[0]] = (cells[1:], [])
        elif not line.startswith("|"):
            now = None
        elif now and CELL.fullmatch(cells[-1]):
            now[1].append((cells[0], [float(CELL.fullmatch(c)[1]) for c in cells[1:]]))
    return tables


AXES = {
    "acceleration, Gaussian": "acceleration",
    "acceleration, regular": "acceleration",
    "coils": "number of coils",
    "noise": "signal-to-noise ratio [dB]",
    "LR matrix": "LR matrix [PE x readout]",
    "calibration lines": "calibration lines",
    "lines outside the calibration lines": "lines",
    "field of view along y": "field of view [part of the full one]",
    "2-D masks": "acceleration",
}


def short(label):
    """Return what differs from point to point: "116x128" of "size (116, 128)"."""
    return label.split(" ", 1)[-1].strip("()").replace(", ", "x").removesuffix(".0")


def draw(tables, path):
    """One panel per table, all with one axis of PSNR."""
    from matplotlib.figure import Figure

    n_rows = -(-len(tables) // N_COLUMNS)
    figure = Figure(figsize=(12, 2.9 * n_rows), layout="constrained")
    panels = list(figure.subplots(n_rows, N_COLUMNS, sharey=True, squeeze=False).flat)
    for panel in panels[len(tables) :]:
        panel.set_axis_off()
    for panel, (curve, (systems, rows)) in zip(panels, tables.items(), strict=False):
        points = [short(label) for label, _ in rows]
        for i, system in enumerate(systems):
            is_reference = system == UPPER_REFERENCE
            panel.plot(
                points,
                [values[i] for _, values in rows],
                "--" if is_reference else "o-",
                color="black" if is_reference else COLOURS[i % len(COLOURS)],
                linewidth=1 if is_reference else 1.6,
                label="fully sampled + sinc" if is_reference else system,
            )
        panel.set(title=curve, xlabel=AXES[curve])
        panel.grid(alpha=0.3)
    figure.supylabel("PSNR [dB]")
    figure.axes[0].legend(fontsize=8)
    figure.savefig(path, dpi=90)


def main():
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", type=Path)
    parser.add_argument("picture", type=Path)
    options = parser.parse_args()
    draw(read_tables(options.tables.read_text()), options.picture)


if __name__ == "__main__":
    main()
