"""The `jrsr-train` command: images, prepare, fit, evaluate, table, figure, tune, export.

Modules that import torch are imported inside the commands, so that `--help` answers at once.
"""

import sys
import time
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from jrsr_core.isolation import isolate_subprocesses

from .application import Application, run_command
from .errors import UsageError, as_usage
from .images_command import images

BEGAN = time.monotonic()
"""When the command began; the minutes of a run count from here."""

app = Application("Train and evaluate the networks of JRSR. Research use only.")

app.command()(images)

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing output.")]
ProtocolName = Annotated[str, typer.Option(help="brain-5x or wall-16x.")]


def _check_protocol(name: str) -> None:
    from jrsr_core.simulation.protocols import find_protocol

    with as_usage():
        find_protocol(name)


@app.command()
def prepare(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            help="Files or folders: HDF5 (image stack, fastMRI, MoDL, ISMRMRD), NIfTI, DICOM."
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the scans.")],
    protocol: ProtocolName = "brain-5x",
    scans: Annotated[
        int | None, typer.Option(min=1, help="Number of scans to draw; default one per slice.")
    ] = None,
    vary: Annotated[
        bool, typer.Option("--vary", help="Vary coils, noise, mask, matrix and contrast.")
    ] = False,
    variety: Annotated[
        str, typer.Option(help="Ranges of --vary: brain, or wide (any Cartesian scan).")
    ] = "brain",
    objects: Annotated[
        list[str] | None,
        typer.Option(help="KIND=SHARE of made objects (repeatable), the rest are images."),
    ] = None,
    truth_maps: Annotated[
        str, typer.Option(help="Maps of the truth: full (fully sampled centre) or acs.")
    ] = "full",
    hr_limit: Annotated[
        int, typer.Option(min=0, help="Longest side of HR images [pixel]; 0: any.")
    ] = 0,
    n_maps: Annotated[
        int, typer.Option(min=1, max=2, help="Coil map sets; DL-ESPIRiT needs 2.")
    ] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of everything that is drawn.")] = 0,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0: this one.")] = 0,
) -> None:
    """Simulate and calibrate training scans once; an interrupted run continues."""
    from rich.progress import track

    from training.data.manifest import Acquisition
    from training.data.prepare import make_all, open_folder
    from training.data.ranges import asked_variety

    _check_protocol(protocol)
    with as_usage():
        ranges = asked_variety(vary, variety, objects)
    acquisition = Acquisition(
        protocol, truth_maps, hr_limit, n_maps=n_maps, seed=seed, variety=ranges
    )
    manifest = open_folder(inputs, out, acquisition, scans)
    entries = make_all(out, manifest, workers=workers)
    counts = {name: len(manifest.split(name)) for name in ("train", "val", "test")}
    total = counts["train"] + counts["val"]
    for _ in track(entries, "preparing", total=total, disable=not sys.stderr.isatty()):
        pass
    listed = ", ".join(f"{n} {name}" for name, n in counts.items())
    typer.echo(f"{out}: {listed} scans, manifest {manifest.sha256[:12]}")


@app.command()
def fit(
    recipe: Annotated[Path, typer.Argument(help="YAML file with the settings of a run.")],
    changes: Annotated[
        list[str] | None, typer.Argument(help="Changes of the recipe: key=value, as in loss.pix=1.")
    ] = None,
    export_to: Annotated[
        Path | None,
        typer.Option("--export", help="Folder for weights and card, also after SIGTERM."),
    ] = None,
) -> None:
    """Train, or continue from the checkpoint in the folder of the run.

    minutes=8 takes the place of steps: the command ends after eight minutes, exported.
    """
    # Imported before the run, so that no time of its last part is lost.
    from training.evaluation.export import export as write
    from training.fit import fit as run
    from training.fit.budget import Stopwatch
    from training.fit.process import Stopped

    from .config import load_recipe

    config = load_recipe(recipe, changes)
    watch = Stopwatch(began=BEGAN)

    def print_row(row: dict) -> None:
        shown = ("loss", "residual", "val_psnr", "val_ssim", "bicubic", "sinc", "alarm")
        cells = [f"{k} {row[k]:.4g}" if k != "alarm" else row[k] for k in shown if k in row]
        cells.insert(0, progress(row["step"]))
        typer.echo("  ".join(cells))

    def progress(step: int) -> str:
        if not config.minutes:
            return f"step {step} of {config.steps}"
        return f"step {step}, {watch.elapsed / 60:.2f} of {config.minutes:g} min"

    def export_weights() -> None:
        if export_to is not None:
            typer.echo(str(write(Path(config.out), export_to, overwrite=True)))

    try:
        run(config, print_row, watch)
    except Stopped:
        export_weights()
        raise
    export_weights()
    if config.minutes:
        left = 60 * config.minutes - watch.elapsed
        typer.echo(f"{config.out}: done, {left:.1f} s before the deadline")
    else:
        typer.echo(f"{config.out}: done")


Models = Annotated[
    str,
    typer.Option(
        help="Comma-separated SYSTEM or LABEL=SYSTEM: name, NAME@SET, card, RECON+UPSAMPLE, +dc."
    ),
]
Data = Annotated[
    Path, typer.Option(help="HDF5 file with a data set 'slices', or a folder of such files.")
]
Slices = Annotated[
    int | None, typer.Option(min=1, help="Number of slices, spread over the data; default all.")
]
SqueezeNet = Annotated[
    Path | None, typer.Option(help="Weights of torchvision's SqueezeNet 1.1, for its distance.")
]
AlexNet = Annotated[Path | None, typer.Option(help="Weights of torchvision's AlexNet, for LPIPS.")]
Heads = Annotated[Path | None, typer.Option(help="alex.pth of LPIPS 0.1, for LPIPS.")]


@app.command()
def evaluate(
    data: Data,
    out: Annotated[Path, typer.Option(help="CSV file; rows it already has are kept.")],
    models: Annotated[
        str,
        typer.Option(
            help="Comma-separated SYSTEM or LABEL=SYSTEM: name, NAME@SET, card, RECON+UPSAMPLE, "
            "+dc; default every row of the paper's tables and the shipped weights."
        ),
    ] = "",
    protocol: ProtocolName = "brain-5x",
    slices: Slices = None,
    squeezenet: SqueezeNet = None,
    alexnet: AlexNet = None,
    lpips_heads: Heads = None,
) -> None:
    """Simulate the protocol on test slices and evaluate every system: one CSV row per slice."""
    from rich.progress import track

    from training.evaluation.evaluate import Evaluation
    from training.evaluation.paper import published_systems

    _check_protocol(protocol)
    distances = _distances(squeezenet, alexnet, lpips_heads)
    systems = models.split(",") if models else published_systems(protocol)
    rows = Evaluation(systems, protocol, data, out, slices, distances)
    for _ in track(rows, "evaluating", total=len(rows), disable=not sys.stderr.isatty()):
        pass
    table([out])


def _distances(squeezenet: Path | None, alexnet: Path | None, heads: Path | None) -> dict:
    from jrsr_core.metrics.perceptual import lpips, squeezenet_distance

    found = {}
    if squeezenet is not None:
        found["squeezenet_distance"] = squeezenet_distance(squeezenet)
    if (alexnet is None) != (heads is None):
        raise UsageError("LPIPS needs both --alexnet and --lpips-heads, but only one is given")
    if alexnet is not None and heads is not None:
        found["lpips"] = lpips(alexnet, heads)
    return found


@app.command()
def table(
    rows: Annotated[
        list[Path],
        typer.Argument(help="CSV of `evaluate`; with --paper several, of one protocol each."),
    ],
    proposed: Annotated[str | None, typer.Option(help="Compare all others with this one.")] = None,
    kind: Annotated[
        str, typer.Option("--systems", help="all, ablation (tables 1, 2) or comparison (3, 4).")
    ] = "all",
    style: Annotated[str, typer.Option("--format", help="markdown or latex.")] = "markdown",
    paper: Annotated[
        bool, typer.Option("--paper", help="Print the paper's tables 1 to 4 beside its figures.")
    ] = False,
) -> None:
    """Print mean and standard deviation over slices, the best in bold; compare with a system."""
    from training.evaluation.tables import latex, make_table, markdown, paper_tables

    styles = {"markdown": markdown, "latex": latex}
    if style not in styles:
        raise UsageError(f"format is {style!r}, known: {', '.join(styles)}")
    if not paper:
        if len(rows) > 1:
            raise UsageError(f"{len(rows)} CSV files given, several are for --paper alone")
        typer.echo(styles[style](make_table(rows[0], kind=kind, proposed=proposed)))
        return
    mark = "% " if style == "latex" else ""
    tables = paper_tables(rows, kind, proposed)
    texts = [f"{mark}{caption}\n\n{styles[style](made)}" for caption, made in tables.items()]
    typer.echo("\n\n".join(texts))


@app.command()
def figure(
    models: Models,
    data: Data,
    out: Annotated[Path, typer.Option(help="Figure to write: .png, .pdf or .svg.")],
    protocol: ProtocolName = "brain-5x",
    index: Annotated[
        int, typer.Option("--slice", min=0, help="Index of the slice, among those with signal.")
    ] = 0,
    zoom: Annotated[
        str | None, typer.Option(help="y,x,size of the part to magnify; default the most detailed.")
    ] = None,
    dpi: Annotated[int, typer.Option(min=72, max=1200, help="Pixels per inch of a PNG.")] = 600,
    squeezenet: SqueezeNet = None,
    alexnet: AlexNet = None,
    lpips_heads: Heads = None,
    overwrite: Overwrite = False,
) -> None:
    """Draw image, magnified part and error of one slice for every system, with its scores."""
    from training.evaluation.figures import check_figure, draw_figure, save_figure

    check_figure(out, overwrite=overwrite)
    _check_protocol(protocol)
    distances = _distances(squeezenet, alexnet, lpips_heads)
    made = draw_figure(models.split(","), protocol, data, index, zoom=zoom, distances=distances)
    save_figure(made, out, dpi, overwrite=overwrite)
    typer.echo(str(out))


@app.command()
def tune(
    data: Annotated[Path, typer.Option(help="HDF5 file with validation slices.")],
    protocol: ProtocolName = "brain-5x",
    slices: Slices = None,
) -> None:
    """Try regularisations and iterations of CG-SENSE on validation slices, best first."""
    from training.fit.tune import tune_cg_sense

    _check_protocol(protocol)
    typer.echo("lambda   iterations  bicubic [dB]  sinc [dB]")
    for row in tune_cg_sense(data, protocol, slices):
        pair = f"{row['lambda']:<8g} {row['iterations']:<11d}"
        typer.echo(f"{pair} {row['bicubic']:<13.3f} {row['sinc']:.3f}")


@app.command()
def export(
    folder: Annotated[
        Path, typer.Argument(help="Folder of a run, or with --rows a weights card (*.json).")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for weights and card.")],
    data: Annotated[
        str, typer.Option(help="Description of the data; default from the manifest.")
    ] = "",
    rows: Annotated[
        Path | None, typer.Option(help="CSV of `evaluate` whose figures go on the card.")
    ] = None,
    commit: Annotated[
        str | None, typer.Option(help="Commit of the training code; default the current one.")
    ] = None,
    start_share: Annotated[
        float, typer.Option(help="Share of the weights it started from (start.init) to mix in.")
    ] = 0.0,
    overwrite: Overwrite = False,
) -> None:
    """Write float16 weights and their card; of a card, the same weights with new figures."""
    from training.evaluation.export import add_figures
    from training.evaluation.export import export as run

    if folder.suffix == ".json":
        if rows is None:
            raise UsageError(f"{folder} is a card, give --rows with the figures to add to it")
        typer.echo(str(add_figures(folder, out, rows, overwrite=overwrite)))
        return
    card = run(
        folder,
        out,
        data=data,
        rows=rows,
        commit=commit,
        start_share=start_share,
        overwrite=overwrite,
    )
    typer.echo(str(card))


def main() -> NoReturn:
    """Run the command and exit with its code; every failure is one line on stderr.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 training diverged (the last good state is kept),
    130 interrupted.
    """
    isolate_subprocesses()
    sys.exit(run_command(app, sys.argv[1:]))
