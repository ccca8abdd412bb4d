"""The command `jrsr import`."""

from pathlib import Path
from typing import Annotated

import typer

from gadget.output.names import check_extension

from .options import Overwrite, app


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="Raw data of another format.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="ISMRMRD file to write.")],
    measurement: Annotated[
        int | None, typer.Option(min=1, help="Number of the measurement in a Siemens file.")
    ] = None,
    axes: Annotated[
        str | None,
        typer.Option(
            help="Axes of an array in its order: coil, x (readout), y and z (phase encodes), "
            "slice, average, contrast, phase, repetition, set."
        ),
    ] = None,
    fov: Annotated[
        str | None,
        typer.Option(metavar="X,Y,Z", help="Field of view: readout, phase, thickness in mm."),
    ] = None,
    oversampling: Annotated[
        float | None,
        typer.Option(min=1, max=16, help="Acquired over wanted field of view of the readout."),
    ] = None,
    orientation: Annotated[
        str | None,
        typer.Option(
            help="axial, coronal, sagittal, or directions of readout and phase (L,P,S,L,P,S)."
        ),
    ] = None,
    position: Annotated[
        str | None, typer.Option(metavar="L,P,S", help="Centre of the slices in mm.")
    ] = None,
    spacing: Annotated[
        float | None, typer.Option(min=0.001, max=1e4, help="Distance of slice centres in mm.")
    ] = None,
    field: Annotated[
        float | None, typer.Option(min=0.001, max=30, help="Magnetic field in T.")
    ] = None,
    variable: Annotated[
        str | None, typer.Option(help="Name of the array in a MATLAB file.")
    ] = None,
    overwrite: Overwrite = False,
) -> int:
    """Convert raw data of other formats to an ISMRMRD scan.

    \b
    jrsr import meas.dat -o scan.h5                  Siemens (TWIX of VB, VD, VE)
    jrsr import meas.dat --measurement 2 -o scan.h5  one of several measurements
    jrsr import file_brain.h5 -o scan.h5             fastMRI
    jrsr import kspace.cfl --fov 220,180,5 --oversampling 1 -o scan.h5
    jrsr import kspace.npy --axes coil,y,x --fov 220,180,5 --oversampling 1 -o scan.h5

    \b
    What a format does not say is asked for by an option, or printed. k = 0 of an array lies at
    n // 2 of every axis; lines of zeros alone were not measured.
    """  # noqa: D301
    from gadget.offline.importing.run import import_scan
    from gadget.offline.importing.scan import (
        Stated,
        parse_fov,
        parse_orientation,
        parse_position,
    )

    check_extension(output, "mrd", "import")
    stated = Stated(
        axes=None if axes is None else tuple(name.strip() for name in axes.split(",")),
        fov=None if fov is None else parse_fov(fov),
        oversampling=oversampling,
        orientation=None if orientation is None else parse_orientation(orientation),
        position=None if position is None else parse_position(position),
        spacing=spacing,
        field=field,
        variable=variable,
        measurement=measurement,
    )
    return import_scan(source, output, stated, overwrite=overwrite)
