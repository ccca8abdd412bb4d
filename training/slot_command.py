"""The command `jrsr-train slot`: trains for a limited time and keeps the better weights."""

from pathlib import Path
from typing import Annotated

import typer

from .application import BEGAN
from .own_networks import Networks, run_files


def slot(
    recipe: Annotated[Path, typer.Argument(help="YAML file with the settings of a run.")],
    folder: Annotated[Path, typer.Argument(help="Folder of all slots.")],
    train: Annotated[Path, typer.Option(help="Images to train on: a file or a folder.")],
    val: Annotated[Path, typer.Option(exists=True, help="Validation slices to compare on: HDF5.")],
    changes: Annotated[
        list[str] | None, typer.Argument(help="Changes of the recipe: key=value, as in loss.pix=1.")
    ] = None,
    minutes: Annotated[
        float,
        typer.Option(min=0.01, help="Time for training and export, without the comparison."),
    ] = 8.0,
    slices: Annotated[
        int, typer.Option(min=1, help="Number of validation slices of each protocol.")
    ] = 40,
    network: Networks = None,
) -> None:
    """Train for a limited time; keep the weights only if they are better in both protocols."""
    from .runs.budget import Stopwatch
    from .slot import run_slot

    run_files(network)
    own = [f"data={train}", f"minutes={minutes}", "scans.vary=true", "scans.truth_maps=acs"]
    watch = Stopwatch(began=BEGAN)
    card, found = run_slot(recipe, folder, val, [*own, *(changes or ())], slices, watch)
    for protocol, psnr in found.new.items():
        before = found.before.get(protocol)
        against = f", before {before:.3f} dB" if before is not None else ""
        typer.echo(f"{protocol}: {psnr:.3f} dB{against}")
    kept = "the best so far" if found.is_better else "not better, the best so far are kept"
    typer.echo(f"{card}: {kept}; {watch.elapsed:.0f} s")
