"""The `jrsr-train` command: prepare, fit, evaluate, table, export."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="jrsr-train",
    help="Train and judge the networks of JRSR. Research use only.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.command()
def prepare(
    images: Annotated[Path, typer.Argument(help="HDF5 file with a data set 'slices'.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the scans.")],
    scans: Annotated[int, typer.Option(min=1, help="How many scans to simulate.")] = 2000,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    share: Annotated[str, typer.Option(help="i/n: make every n-th scan from the i-th.")] = "0/1",
) -> None:
    """Simulate and calibrate training scans once; an interrupted run goes on."""
    from .prepare import prepare as run

    first, step = (int(part) for part in share.split("/"))
    made = run(images, out, scans, seed=seed, share=(first, step))
    typer.echo(f"{out}: {made} new scans")


@app.command()
def fit(recipe: Annotated[Path, typer.Argument(help="YAML of a run.")]) -> None:
    """Train, or go on from the checkpoint in the run's folder."""
    from .config import load_recipe
    from .supervised import fit as run

    config = load_recipe(recipe)

    def tell(row: dict) -> None:
        loss, residual = f"loss {row['loss']:.4f}", f"residual {row['residual']:.1e}"
        typer.echo(f"step {row['step']} of {config.n_steps}  {loss}  {residual}")

    run(config, tell=tell)
    typer.echo(f"{config.out}: {config.n_steps} steps done")


@app.command()
def evaluate(
    models: Annotated[str, typer.Option(help="Names or weights cards, separated by commas.")],
    data: Annotated[Path, typer.Option(help="HDF5 file with a data set 'slices'.")],
    out: Annotated[Path, typer.Option(help="CSV; rows already there are kept.")],
    protocol: Annotated[str, typer.Option(help="brain-5x or wall-16x.")] = "brain-5x",
    slices: Annotated[int | None, typer.Option(min=1, help="Spread over the file; all.")] = None,
) -> None:
    """Simulate the protocol on test slices and judge every system: one CSV row per slice."""
    from rich.progress import track

    from .evaluate import evaluate as run
    from .evaluate import n_rows

    names = models.split(",")
    rows = run(names, protocol, data, out, slices)
    total = n_rows(names, data, slices)
    for _ in track(rows, "evaluating", total=total, disable=not sys.stderr.isatty()):
        pass
    table(out)


@app.command()
def table(rows: Annotated[Path, typer.Argument(help="CSV of `evaluate`.")]) -> None:
    """Print mean and standard deviation over slices as a Markdown table."""
    from .tables import markdown

    typer.echo(markdown(rows))


@app.command()
def tune(
    data: Annotated[Path, typer.Option(help="HDF5 file with validation slices.")],
    protocol: Annotated[str, typer.Option(help="brain-5x or wall-16x.")] = "brain-5x",
    slices: Annotated[int | None, typer.Option(min=1, help="Spread over the file; all.")] = None,
) -> None:
    """Try regularisations and iterations of CG-SENSE on validation slices, best first."""
    from .tune import tune_cg_sense

    typer.echo("lambda   iterations  bicubic [dB]  sinc [dB]")
    for row in tune_cg_sense(data, protocol, slices):
        pair = f"{row['lambda']:<8g} {row['iterations']:<11d}"
        typer.echo(f"{pair} {row['bicubic']:<13.3f} {row['sinc']:.3f}")


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Folder of a run.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for weights and card.")],
    data: Annotated[str, typer.Option(help="What it was trained on, for the card.")],
    rows: Annotated[Path | None, typer.Option(help="CSV whose figures go on the card.")] = None,
    commit: Annotated[str | None, typer.Option(help="Commit that trained it.")] = None,
) -> None:
    """Write float16 weights and their card."""
    from .export import export as run

    typer.echo(str(run(folder, out, data=data, rows=rows, commit=commit)))


def main() -> None:
    """Run; every failure is one line on stderr and exit code 1, wrong usage is 2."""
    try:
        app(standalone_mode=True)
    except (ValueError, OSError, KeyError, json.JSONDecodeError) as error:
        sys.stderr.write(f"jrsr-train: {' '.join(str(error).split())}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write("jrsr-train: interrupted\n")
        sys.exit(130)
