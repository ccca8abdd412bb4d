"""The commands of `jrsr-train`: images, prepare, fit, slot, evaluate, table, figure, tune, export.

Modules that import torch are imported inside the commands, so that `--help` answers at once.
"""

import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from jrsr_core.common.application import Application

from .application import BEGAN, NAME, quietly
from .errors import UsageError
from .evaluation_commands import evaluate, figure, table
from .images_command import images
from .options import Overwrite, ProtocolName, Slices, check_protocol
from .own_networks import Networks, run_files
from .slot_command import slot

app = Application(
    NAME, "Train and evaluate the networks of JRSR. Research use only.", quietly, typer.echo
)

for command in (images, slot, evaluate, table, figure):
    app.command()(command)


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

    from .data.variety.ranges import asked_variety

    check_protocol(protocol)
    ranges = asked_variety(vary, variety, objects)
    acquisition = Acquisition(
        protocol, truth_maps, hr_limit, n_maps=n_maps, seed=seed, variety=ranges
    )
    manifest = open_folder(inputs, out, acquisition, scans)
    counts = {name: len(manifest.split(name)) for name in ("train", "val", "test")}
    total = counts["train"] + counts["val"]
    with closing(make_all(out, manifest, workers=workers)) as entries:
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
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace weights of another run at --export.")
    ] = False,
    network: Networks = None,
) -> None:
    """Train, or continue from the checkpoint in the folder of the run.

    minutes=8 takes the place of steps: the command ends after eight minutes, exported.
    """
    # Imported before the run, so that no time of its last part is lost.
    from training.evaluation.export import check_export
    from training.evaluation.export import export as write
    from training.runs import check_trains
    from training.runs import fit as run
    from training.runs.budget import Stopwatch
    from training.runs.process import Stopped

    from .config import load_recipe

    run_files(network)
    config = load_recipe(recipe, changes)
    watch = Stopwatch(began=BEGAN)
    if export_to is not None:
        check_trains(config)
        out = Path(config.out)
        check_export(out, export_to, config.model, config.preset, overwrite=overwrite)

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
    except Stopped as stopped:
        if stopped.steps:
            export_weights()
        raise
    export_weights()
    if config.minutes:
        left = 60 * config.minutes - watch.elapsed
        typer.echo(f"{config.out}: done, {left:.1f} s before the deadline")
    else:
        typer.echo(f"{config.out}: done")


@app.command()
def tune(
    data: Annotated[Path, typer.Option(help="HDF5 file with validation slices.")],
    protocol: ProtocolName = "brain-5x",
    slices: Slices = None,
) -> None:
    """Try regularisations and iterations of CG-SENSE on validation slices, best first."""
    from training.runs.tune import tune_cg_sense

    check_protocol(protocol)
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
    network: Networks = None,
) -> None:
    """Write float16 weights and their card; of a card, the same weights with new figures."""
    from training.evaluation.export import add_figures
    from training.evaluation.export import export as run

    run_files(network)
    if folder.suffix == ".json":
        if rows is None:
            raise UsageError(f"{folder} is a card, give --rows with the figures to add to it")
        if commit is not None or start_share:
            raise UsageError(f"{folder} is a card, --commit and --start-share are those of a run")
        typer.echo(str(add_figures(folder, out, rows, data=data, overwrite=overwrite)))
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
