"""The command `jrsr-train images`: image stacks from folders of NIfTI volumes."""

from pathlib import Path
from typing import Annotated

import typer

from training.errors import UsageError


def images(
    folders: Annotated[
        list[Path], typer.Argument(help="Folders of NIfTI volumes, searched with their subfolders.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for train/, val/ and test/.")],
    name: Annotated[str, typer.Option(help="Name of the source, of its stacks and subjects.")],
    matrix: Annotated[
        str, typer.Option(help="Rows (anterior-posterior) x columns of the slices.")
    ] = "256x232",
    pixel: Annotated[float, typer.Option(min=0.1, max=10, help="Pixel size in mm.")] = 0.9,
    slices: Annotated[
        int | None,
        typer.Option(min=1, help="Most slices per volume, evenly spread; default all."),
    ] = None,
    val: Annotated[str, typer.Option(help="Subjects for validation, as sub-5*,sub-60.")] = "",
    test: Annotated[str, typer.Option(help="Subjects for testing; without both, drawn.")] = "",
    seed: Annotated[int, typer.Option(min=0, help="Of the drawn subjects.")] = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace existing stacks.")
    ] = False,
) -> None:
    """Make image stacks (train, val, test) of axial slices from NIfTI volumes.

    A volume is used if its file name states a contrast: T1w, T2w, PDw or FLAIR.
    """
    from training.data.stacks import StackRequest, make_stacks

    sizes = matrix.lower().split("x")
    if len(sizes) != 2 or not all(s.isdigit() and 16 <= int(s) <= 4096 for s in sizes):
        raise UsageError(f"matrix is {matrix!r}, expected two sizes from 16 to 4096 as 256x232")
    if not name or name != Path(name).name:
        raise UsageError(f"name is {name!r}, expected a file name without folders")

    def patterns(text: str) -> tuple[str, ...]:
        return tuple(p.strip() for p in text.split(",") if p.strip())

    rows, columns = map(int, sizes)
    request = StackRequest(
        name, (rows, columns), pixel, slices, patterns(val), patterns(test), seed
    )
    for path, n in make_stacks(folders, out, request, overwrite=overwrite):
        typer.echo(f"{path}: {n} slices")
