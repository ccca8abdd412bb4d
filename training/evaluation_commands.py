"""The commands `jrsr-train evaluate`, `table` and `figure`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from .errors import UsageError
from .options import Data, Overwrite, ProtocolName, Slices, check_protocol
from .own_networks import Networks, run_files

Models = Annotated[
    str,
    typer.Option(
        help="Comma-separated SYSTEM or LABEL=SYSTEM: name, NAME@SET, card, RECON+UPSAMPLE, +dc."
    ),
]
Images = Annotated[
    list[str] | None,
    typer.Option(help="FOLDER or LABEL=FOLDER of images made elsewhere (repeatable)."),
]
SqueezeNet = Annotated[
    Path | None, typer.Option(help="Weights of torchvision's SqueezeNet 1.1, for its distance.")
]
AlexNet = Annotated[Path | None, typer.Option(help="Weights of torchvision's AlexNet, for LPIPS.")]
Heads = Annotated[Path | None, typer.Option(help="alex.pth of LPIPS 0.1, for LPIPS.")]


def evaluate(
    data: Data,
    out: Annotated[Path, typer.Option(help="CSV file; rows it already has are kept.")],
    models: Annotated[
        str,
        typer.Option(
            help="Comma-separated SYSTEM or LABEL=SYSTEM: name, NAME@SET, card, RECON+UPSAMPLE, "
            "+dc; default every row of the paper's tables and the shipped weights; none of them "
            "with --images."
        ),
    ] = "",
    images: Images = None,
    protocol: ProtocolName = "brain-5x",
    slices: Slices = None,
    squeezenet: SqueezeNet = None,
    alexnet: AlexNet = None,
    lpips_heads: Heads = None,
    network: Networks = None,
) -> None:
    """Simulate the protocol on test slices and evaluate every system: one CSV row per slice."""
    from rich.progress import track

    from training.evaluation.evaluate import Evaluation
    from training.evaluation.paper import published_systems

    check_protocol(protocol)
    run_files(network)
    distances = _distances(squeezenet, alexnet, lpips_heads)
    systems = [name for name in models.split(",") if name]
    if not systems and not images:
        systems = published_systems(protocol)
    rows = Evaluation(systems, protocol, data, out, slices, distances, images=images or ())
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
    by_subject: Annotated[
        bool, typer.Option("--by-subject", help="Each subject counts once, not each slice.")
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
        typer.echo(
            styles[style](make_table(rows[0], kind=kind, proposed=proposed, by_subject=by_subject))
        )
        return
    mark = "% " if style == "latex" else ""
    tables = paper_tables(rows, kind, proposed, by_subject=by_subject)
    texts = [f"{mark}{caption}\n\n{styles[style](made)}" for caption, made in tables.items()]
    typer.echo("\n\n".join(texts))


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
    network: Networks = None,
) -> None:
    """Draw image, magnified part and error of one slice for every system, with its scores."""
    from training.evaluation.figures import check_figure, draw_figure, save_figure

    check_figure(out, overwrite=overwrite)
    check_protocol(protocol)
    run_files(network)
    distances = _distances(squeezenet, alexnet, lpips_heads)
    made = draw_figure(models.split(","), protocol, data, index, zoom=zoom, distances=distances)
    save_figure(made, out, dpi, overwrite=overwrite)
    typer.echo(str(out))
