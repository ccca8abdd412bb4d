"""The `jrsr` command. Commands import what they need when they run: help has to be instant."""

import logging
import signal
import sys
import textwrap
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any

import typer

from .cluster_extra import check_share
from .console import complain, log_to, say
from .errors import Exit, describe, exit_code
from .settings import Settings, split_pairs

INTERRUPTED = 130

app = typer.Typer(
    name="jrsr",
    help="Joint MR image reconstruction and super-resolution. Research use only.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing output.")]
Model = Annotated[str | None, typer.Option("--model", help="Name, card, or RECON+UPSAMPLE.")]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda or cuda:n.")]
Untrusted = Annotated[
    bool, typer.Option("--untrusted", help="Read files in a process with limits.")
]
Cluster = Annotated[
    str, typer.Option(metavar="ADDRESS", help="Ray cluster, or local: all cores, all GPUs.")
]
GpusPerWorker = Annotated[
    float | None,
    typer.Option(min=0.01, max=1, help="Share of a GPU for each worker of a cluster; else 1."),
]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Say more.")]
Pairs = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any other property: jrsr settings."),
]


@app.command()
def recon(
    inputs: Annotated[list[Path], typer.Argument(help="ISMRMRD files, or folders of them.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="File or folder.")] = None,
    formats: Annotated[
        str, typer.Option("--format", help="One or several of those below, with commas.")
    ] = "mrd",
    model: Model = None,
    device: Device = None,
    pairs: Pairs = None,
    report: Annotated[bool, typer.Option("--report", help="Add a page per scan (HTML).")] = False,
    overwrite: Overwrite = False,
    untrusted: Untrusted = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Leave out scans whose output is there.")
    ] = False,
    cluster: Cluster = "",
    gpus_per_worker: GpusPerWorker = None,
    verbose: Verbose = False,
    log_file: Annotated[
        Path | None, typer.Option("--log", help="Append all that is said, with its time.")
    ] = None,
) -> int:
    """Reconstruct scans into high-resolution images.

    \b
    jrsr recon scan.h5                         scan_jrsr.h5 beside it: ISMRMRD images
    jrsr recon scan.h5 -o out --format dicom   a folder of DICOM images in out/
    jrsr recon scan.h5 --report                and a page that shows what to trust
    jrsr recon day1/ day2/ -o out              every scan of two folders
    jrsr recon scan.h5 --model cg-sense+sinc   the same without a network
    jrsr recon scan.h5 --set maps=hallucination --set noise_file=noise.h5

    \b
    Formats: mrd (ISMRMRD), dicom (folder of MR images), enhanced (DICOM, one file per series),
    nifti, png (one picture), report (one page).
    Exit code: 0 done, 1 failed, 2 wrong usage or a scan we decline, 3 done but some images are
    fallback images, 130 interrupted. Nothing is left half written.
    """  # noqa: D301
    settings = _settings(pairs, model, device)
    check_share(cluster, gpus_per_worker)
    from .outputs import parse_formats
    from .replay import Request, find_scans, replay

    wanted = parse_formats(f"{formats},report" if report else formats)
    scans = find_scans(inputs, untrusted=untrusted)
    request = Request(scans, output, wanted, overwrite, untrusted, resume, cluster, gpus_per_worker)
    with log_to(log_file, verbose=verbose):
        return replay(request, settings)


@app.command()
def convert(
    images: Annotated[Path, typer.Argument(help="ISMRMRD images, as recon and send write them.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder.")] = None,
    formats: Annotated[str, typer.Option("--format", help="dicom, enhanced, nifti.")] = "dicom",
    overwrite: Overwrite = False,
) -> int:
    """Turn ISMRMRD images, of Gadgetron as well, into DICOM and NIfTI."""
    from .convert import ConvertRequest, parse_convertible
    from .convert import convert as run

    return run(ConvertRequest(images, output, parse_convertible(formats), overwrite))


def simulate(
    *, output: Path, truth: Path | None = None, overwrite: bool = False, **options: Any
) -> int:
    """Write an ISMRMRD scan as a scanner would, 2-D or 3-D."""
    from .scan_request import ScanRequest
    from .simulate import write_simulation

    made = write_simulation(ScanRequest(**options), output, truth, overwrite=overwrite)
    image = next(f for f in made.frames if not f.reference)
    n_coils, *matrix = (n for n in image.kspace.shape if n > 1)
    size = f"{len(made.frames)} passes, {n_coils} coils, {' x '.join(map(str, matrix))}"
    factor = image.mask.numel() / float(image.mask.sum())
    say(f"{output}: {size}, acceleration {factor:.2f}")
    return Exit.DONE


def _add_simulate() -> None:
    """Register `simulate` with one option for every field of `ScanRequest`."""
    from .scan_request import request_parameters

    own = [
        ("output", Annotated[Path, typer.Option("-o", "--output", help="File to write.")], ...),
        ("truth", Annotated[Path | None, typer.Option(help="File for the true images.")], None),
        ("overwrite", Overwrite, False),
    ]
    parameters = [
        Parameter(n, Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for n, kind, default in own
    ] + request_parameters()
    simulate.__signature__ = Signature(parameters)
    simulate.__annotations__ = {p.name: p.annotation for p in parameters}
    app.command()(simulate)


_add_simulate()


@app.command()
def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder.")] = Path("jrsr-demo"),
    model: Model = None,
    device: Device = None,
    pairs: Pairs = None,
    overwrite: Overwrite = False,
) -> int:
    """Simulate, reconstruct, compare with CG-SENSE + bicubic, draw a picture and a report."""
    settings = _settings(pairs, model, device)
    from .demo import run_demo

    for line in run_demo(output, settings, overwrite=overwrite):
        say(line)
    return Exit.DONE


@app.command()
def check(
    scan: Annotated[Path, typer.Argument(help="ISMRMRD file.")],
    model: Model = None,
    device: Device = None,
    pairs: Pairs = None,
    untrusted: Untrusted = False,
) -> int:
    """Show what is in a scan and whether and how it would be reconstructed."""
    settings = _settings(pairs, model, device)
    from jrsr_core.mrd.errors import UnsupportedScan

    from .check import check_model, inspect_scan
    from .check_report import report_lines
    from .replay import open_scan

    check_model(settings)
    try:
        with open_scan(scan, untrusted=untrusted) as file:
            rows = report_lines(inspect_scan(file.header, file.heads, settings), settings)
    except UnsupportedScan as error:
        complain(f"{scan.name}: declined: {describe(error)}")
        return Exit.DECLINED
    except ValueError as error:
        complain(f"{scan.name}: {describe(error)}")
        return exit_code(error)
    say(str(scan))
    for name, value in rows:
        for i, line in enumerate(
            textwrap.wrap(value, 84, break_long_words=False, break_on_hyphens=False)
        ):
            say(f"  {'' if i else name:<13} {line}")
    return Exit.DONE


Host = Annotated[str, typer.Option("--host", help="Name or address, IPv4 or IPv6.")]
Port = Annotated[int, typer.Option("--port", min=0, max=65535)]


@app.command()
def serve(
    host: Host = "127.0.0.1",
    port: Port = 18000,
    model: Model = None,
    device: Device = None,
    pairs: Pairs = None,
    max_connections: Annotated[int, typer.Option(min=1, help="Served at once.")] = 16,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds for scans going on, on SIGTERM.")
    ] = 60,
    idle_timeout: Annotated[
        float, typer.Option(min=0, help="Seconds of silence before a scan is given up; 0: never.")
    ] = 0,
    max_memory: Annotated[
        float | None, typer.Option(min=0.001, help="GiB for lines of all scans; half of the RAM.")
    ] = None,
    allow: Annotated[
        list[str] | None, typer.Option(metavar="NETWORK", help="Only from there: 10.1.0.0/16.")
    ] = None,
    peer_files: Annotated[
        bool, typer.Option("--peer-files", help="Peers may name files of this machine.")
    ] = False,
    cluster: Cluster = "",
    gpus_per_worker: GpusPerWorker = None,
    verbose: Verbose = False,
) -> int:
    """Serve Gadgetron's <connect> and MRD clients with one model in memory.

    With --cluster the slices are computed by the workers of a Ray cluster.
    """
    settings = _settings(pairs, model, device)
    check_share(cluster, gpus_per_worker)
    from .conversation import Terms
    from .listening import parse_networks
    from .protocol.memory import Memory
    from .serve import serve_until_stopped

    memory = Memory(max_memory and int(max_memory * 2**30))
    return serve_until_stopped(
        settings,
        host,
        port,
        max_connections=max_connections,
        grace=grace,
        allow=parse_networks(allow or []),
        terms=Terms(memory=memory, idle_timeout=idle_timeout, peer_files=peer_files),
        cluster=cluster,
        gpus_per_worker=gpus_per_worker,
        verbose=verbose,
    )


@app.command()
def send(
    scan: Annotated[Path, typer.Argument(help="ISMRMRD file.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="File for the images.")],
    host: Host = "127.0.0.1",
    port: Port = 18000,
    chain: Annotated[Path | None, typer.Option(help="Chain file, sent to the server.")] = None,
    config: Annotated[str, typer.Option(help="Name of a configuration of the server.")] = "jrsr",
    pairs: Pairs = None,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds without an answer.")] = 600,
    overwrite: Overwrite = False,
) -> int:
    """Send a scan to a Gadgetron or MRD server and keep the images it returns."""
    from .client import SendRequest, send_scan

    parameters = split_pairs(pairs or [])
    request = SendRequest(
        scan, output, host, port, chain, config, parameters, timeout, overwrite=overwrite
    )
    return send_scan(request)


@app.command()
def health(host: Host = "127.0.0.1", port: Port = 18000) -> int:
    """Ask a resident server how it is; exit code 1 if it does not answer."""
    from .client import ask_health

    say(ask_health(host, port))
    return Exit.DONE


@app.command()
def settings() -> int:
    """List all properties of --set, of <property> and of MRD clients, with their defaults."""
    from .settings_help import settings_lines

    for line in settings_lines():
        say(line)
    return Exit.DONE


@app.command()
def models() -> int:
    """List shipped and local weights, verified against their cards."""
    from jrsr_core.weights import list_weights

    cards = list_weights()
    for card in cards:
        say(f"{card.model} {card.preset}: sha256 {card.sha256[:16]}, {card.licence}")
        say(f"  trained on {card.data or 'unnamed data'}; {card.intended_use}")
        for protocol, figures in card.metrics.items():
            say(f"  {protocol}: {_figures(figures)}")
    if not cards:
        complain("no weights found")
    return Exit.DONE


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code; every failure is one line on stderr."""
    logging.basicConfig(level=logging.ERROR, format="jrsr: %(message)s")
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(int(_run(arguments)))


def _run(arguments: list[str] | None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code = app(arguments or ["--help"], "jrsr", standalone_mode=False) or Exit.DONE
    except (KeyboardInterrupt, SystemExit):
        code = INTERRUPTED
    except Exception as error:
        return _explain(error)
    if code == INTERRUPTED:
        complain("interrupted")
    return code


def _explain(error: Exception) -> int:
    """Say what went wrong in one line and return the exit code."""
    # Usage errors and interrupts of the option parser, whichever library typer has it from.
    if hasattr(error, "format_message"):
        complain(" ".join(error.format_message().split()).rstrip(".") + " (see jrsr --help)")
        return Exit.DECLINED
    if type(error).__name__ == "Abort":
        complain("interrupted")
        return INTERRUPTED
    complain(describe(error))
    logging.getLogger(__name__).debug("details", exc_info=True)
    return exit_code(error)


def _terminate(number: int, frame: Any) -> None:
    # As an exception it closes writers on its way out, like Ctrl-C.
    raise KeyboardInterrupt


def _settings(pairs: list[str] | None, model: str | None, device: str | None) -> Settings:
    return Settings.from_pairs(pairs or [], model=model, device=device)


def _figures(value: Any) -> str:
    """Metrics of a card, which may nest, on one line."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_figures(figure)}" for name, figure in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)
