"""The `jrsr` application, and the options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from gadget.console import print_line, quietly
from jrsr_core.common.application import Application

from . import completion

app = Application(
    "jrsr",
    "Joint MR image reconstruction and super-resolution. Research use only.",
    quietly,
    print_line,
)

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing output.")]
Model = Annotated[
    str | None,
    typer.Option(
        "--model", help="Name, card, or RECON+UPSAMPLE.", autocompletion=completion.models
    ),
]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda or cuda:n.")]
Untrusted = Annotated[
    bool,
    typer.Option(
        "--untrusted", help="Read input in a sandboxed subprocess (memory, CPU and time limits)."
    ),
]
Dataset = Annotated[str, typer.Option("--dataset", help="Group to read from a file with several.")]
Cluster = Annotated[
    str, typer.Option(metavar="ADDRESS", help="Ray cluster, or local for all cores and GPUs.")
]
GpusPerWorker = Annotated[
    float | None,
    typer.Option(min=0.01, max=1, help="Share of a GPU for each worker of the cluster; default 1."),
]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Print details.")]
Pairs = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set an option (repeatable); `jrsr settings` lists them.",
        autocompletion=completion.pairs,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Host = Annotated[str, typer.Option("--host", help="Name or address, IPv4 or IPv6.")]
Port = Annotated[int, typer.Option("--port", min=0, max=65535)]
Phase = Annotated[
    bool,
    typer.Option("--phase", help="Write the phase of complex images as a further series."),
]

Template = Annotated[
    Path | None,
    typer.Option(
        "--dicom-template", help="DICOM file whose patient, study and frame the images take over."
    ),
]
PatientId = Annotated[str, typer.Option("--patient-id", help="Patient ID of DICOM images.")]
Accession = Annotated[str, typer.Option("--accession", help="Accession number of DICOM images.")]
StudyUid = Annotated[str, typer.Option("--study-uid", help="Study instance UID of DICOM images.")]
SeriesNumber = Annotated[
    int | None, typer.Option("--series-number", help="Number of the first series of DICOM images.")
]
