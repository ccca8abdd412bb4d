"""The `jrsr-train` command: prepare, fit, evaluate, table, figure, export."""

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


Models = Annotated[
    str, typer.Option(help="SYSTEM or LABEL=SYSTEM, by commas: names, cards, RECON+UPSAMPLE, +dc.")
]
Data = Annotated[
    Path, typer.Option(help="HDF5 file with a data set 'slices', or a folder of them.")
]
ProtocolName = Annotated[str, typer.Option(help="brain-5x or wall-16x.")]
SqueezeNet = Annotated[
    Path | None, typer.Option(help="ONNX file of SqueezeNet 1.1, for the feature distance.")
]
AlexNet = Annotated[Path | None, typer.Option(help="torchvision's weights of AlexNet, for LPIPS.")]
Heads = Annotated[Path | None, typer.Option(help="alex.pth of LPIPS 0.1, for LPIPS.")]
Proposed = Annotated[str | None, typer.Option(help="Compare all others with this system.")]
Kind = Annotated[
    str, typer.Option("--systems", help="all, ablation (tables 1, 2) or comparison (3, 4).")
]


@app.command()
def evaluate(
    models: Models,
    data: Data,
    out: Annotated[Path, typer.Option(help="CSV; rows already there are kept.")],
    protocol: ProtocolName = "brain-5x",
    slices: Annotated[int | None, typer.Option(min=1, help="Spread over the data; all.")] = None,
    squeezenet: SqueezeNet = None,
    alexnet: AlexNet = None,
    lpips_heads: Heads = None,
) -> None:
    """Simulate the protocol on test slices and judge every system: one CSV row per slice."""
    from rich.progress import track

    from .evaluate import Evaluation

    distances = _distances(squeezenet, alexnet, lpips_heads)
    rows = Evaluation(models.split(","), protocol, data, out, slices, distances)
    for _ in track(rows, "evaluating", total=len(rows), disable=not sys.stderr.isatty()):
        pass
    table(out)


def _distances(squeezenet: Path | None, alexnet: Path | None, heads: Path | None) -> dict:
    from jrsr_core.metrics.perceptual import feature_distance, lpips

    found = {}
    if squeezenet is not None:
        found["feature_distance"] = feature_distance(squeezenet)
    if (alexnet is None) != (heads is None):
        raise ValueError("LPIPS needs both --alexnet and --lpips-heads, only one is given")
    if alexnet is not None and heads is not None:
        found["lpips"] = lpips(alexnet, heads)
    return found


@app.command()
def table(
    rows: Annotated[Path, typer.Argument(help="CSV of `evaluate`.")],
    proposed: Proposed = None,
    kind: Kind = "all",
    style: Annotated[str, typer.Option("--format", help="markdown or latex.")] = "markdown",
) -> None:
    """Print mean and standard deviation over slices, the best in bold; compare with a system."""
    from .tables import latex, markdown

    styles = {"markdown": markdown, "latex": latex}
    if style not in styles:
        raise ValueError(f"format is {style!r}, known: {', '.join(styles)}")
    typer.echo(styles[style](rows, kind=kind, proposed=proposed))


@app.command()
def figure(
    models: Models,
    data: Data,
    out: Annotated[Path, typer.Option(help="PNG file.")],
    protocol: ProtocolName = "brain-5x",
    index: Annotated[int, typer.Option("--slice", min=0, help="Which slice of the data.")] = 0,
    zoom: Annotated[
        str | None, typer.Option(help="y,x,size of the part to magnify; the most detailed one.")
    ] = None,
    squeezenet: SqueezeNet = None,
    alexnet: AlexNet = None,
    lpips_heads: Heads = None,
) -> None:
    """Draw images, magnified parts and error maps of one slice, scores in the corner."""
    from .figures import draw_figure

    distances = _distances(squeezenet, alexnet, lpips_heads)
    png = draw_figure(models.split(","), protocol, data, index, zoom=zoom, distances=distances)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(png)
    typer.echo(str(out))


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
