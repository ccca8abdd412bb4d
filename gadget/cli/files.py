"""Commands that read and write files: recon, convert, simulate, demo, check."""

import textwrap
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any

import typer

from gadget.compute.ray.available import check_share
from gadget.console import complain, log_to, say
from gadget.errors import Exit, describe, exit_code
from gadget.scan.inspect import Inspection, SpaceInspection
from gadget.settings import Settings
from jrsr_core.models.registry import has_consistency
from jrsr_core.mrd.header import ScanHeader
from jrsr_core.mrd.plan import NESTING, ScanPlan
from jrsr_core.mrd.readout import lr_readout_size, readout_size
from jrsr_core.reconstruction.warnings import unlike_any
from jrsr_core.weights import CardError, system_cards, system_name

from .options import (
    Cluster,
    Device,
    GpusPerWorker,
    Model,
    Overwrite,
    Pairs,
    Untrusted,
    Verbose,
    app,
    settings_of,
)


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
    settings = settings_of(pairs, model, device)
    check_share(cluster, gpus_per_worker)
    from gadget.offline.recon import Request, find_scans, replay
    from gadget.output.formats import parse_formats

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
    from gadget.offline.convert import ConvertRequest, parse_convertible
    from gadget.offline.convert import convert as run

    return run(ConvertRequest(images, output, parse_convertible(formats), overwrite))


def simulate(
    *, output: Path, truth: Path | None = None, overwrite: bool = False, **options: Any
) -> int:
    """Write an ISMRMRD scan as a scanner would, 2-D or 3-D."""
    from jrsr_core.mrd.simulator.request import ScanRequest
    from jrsr_core.mrd.simulator.simulate import write_simulation

    made = write_simulation(ScanRequest(**options), output, truth, overwrite=overwrite)
    image = next(f for f in made.frames if not f.reference)
    n_coils, *matrix = (n for n in image.kspace.shape if n > 1)
    size = f"{len(made.frames)} passes, {n_coils} coils, {' x '.join(map(str, matrix))}"
    factor = image.mask.numel() / float(image.mask.sum())
    say(f"{output}: {size}, acceleration {factor:.2f}")
    return Exit.DONE


def _add_simulate() -> None:
    """Register `simulate` with one option for every field of `ScanRequest`."""
    from jrsr_core.mrd.simulator.request import request_parameters

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
    settings = settings_of(pairs, model, device)
    from gadget.offline.demo import run_demo

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
    settings = settings_of(pairs, model, device)
    from gadget.offline.recon import open_scan
    from gadget.scan.inspect import check_model, inspect_scan
    from jrsr_core.mrd.errors import UnsupportedScan

    from .files import report_lines

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


# FOLDED gadget/check_report.py: What `jrsr check` prints: one screen of names and values.
ACS_SOURCES = {
    "shared": "one image of each slice for all",
    "frames": "average over the frames",
    "reference": "{} reference lines",
    "volume": "{} lines of a reference volume, at the place of each slice",
}


def report_lines(found: Inspection, settings: Settings) -> list[tuple[str, str]]:
    """Return what to show, as (name, value)."""
    plan = found.plan
    header = plan.header
    counts = {name: len({getattr(c, name) for c in plan.groups}) for name in NESTING}
    images = ", ".join(f"{n} {name}s" for name, n in counts.items() if n > 1)
    spare = ", ".join(f"{n} {name}" for name, n in plan.rejected.items())
    rows = [
        ("protocol", header.protocol_name or "not named"),
        ("system", _system(header)),
        ("coils", str(plan.n_coils)),
        ("images", f"{len(plan.groups)}" + (f" ({images})" if images else "")),
        ("lines", f"{sum(map(len, plan.groups.values()))} for images, {len(plan.noise)} noise"),
        ("set aside", ", ".join(filter(None, (spare, _outside(found)))) or "nothing"),
        ("whitening", _whitening(plan, settings)),
    ]
    for space in found.spaces:
        if len(found.spaces) > 1:
            text = f"{space.n_images} images, a series of their own"
            rows.append((f"encoding {space.number}", text))
        rows += _space_rows(space, found, settings)
    return rows


def _space_rows(
    space: SpaceInspection, found: Inspection, settings: Settings
) -> list[tuple[str, str]]:
    encoding = space.encoding
    return [
        ("kind", _kind(space, found.plan)),
        ("encoded", _space(encoding.encoding_matrix, encoding.encoding_fov_mm)),
        ("wanted", _space(encoding.recon_matrix, encoding.recon_fov_mm)),
        ("readout", _readout(space, settings)),
        ("acceleration", f"{space.acceleration:.2f}"),
        ("averages", str(space.n_averages)),
        ("calibration", _calibration(space, found.plan)),
        ("would do", _intention(space, found.plan, settings)),
        ("unlike training", _unlike_training(space, found.plan, settings)),
    ]


def _unlike_training(space: SpaceInspection, plan: ScanPlan, settings: Settings) -> str:
    """Name what is outside the range of the weights, as far as the header tells."""
    try:
        cards = system_cards(settings.model, preset=settings.preset, weights=settings.weights)
    except (CardError, OSError) as error:
        return f"not known: {error}"
    if not cards:
        return "has no weights"
    if not any(card.range for card in cards):
        return "not known: the card is silent"
    found = unlike_any(
        cards,
        n_coils=min(plan.n_coils, settings.n_virtual_coils),
        acceleration=space.acceleration,
        n_acs=min(space.acs),
        hr_size=space.hr_matrix[:2] if space.encoding.is_3d else space.hr_matrix,
    )
    return "; ".join(found) or "nothing, as far as the header tells"


def _kind(space: SpaceInspection, plan: ScanPlan) -> str:
    n_spaces = len(plan.header.encodings)
    spaces = f", {n_spaces} encoding spaces" if n_spaces > 1 else ""
    return ("3-D Cartesian" if space.encoding.is_3d else "2-D Cartesian") + spaces


def _readout(space: SpaceInspection, settings: Settings) -> str:
    """Return the samples, and what becomes of an HR readout and an asymmetric echo."""
    n, n_lr = readout_size(space.encoding), lr_readout_size(space.encoding)
    text = f"{n} samples"
    if n_lr is not None:
        text += f" (high resolution already: {n_lr} central ones for the model, "
        model = system_name(settings.model)
        unused = f"the outer ones not used by {model})"
        text += "all for HR consistency)" if has_consistency(model) else unused
    if space.echo < 1:
        text += f", asymmetric echo: {100 * space.echo:.0f} % measured, "
        text += "the rest zero-filled" if space.encoding.is_3d else "the rest left to the model"
    return text


def _calibration(space: SpaceInspection, plan: ScanPlan) -> str:
    chosen = [c for (number, _), c in plan.calibration.items() if number == space.number]
    parts = []
    for kind in sorted({c.kind for c in chosen}):
        lines = {c.lines.tobytes(): len(c.lines) for c in chosen if c.kind == kind}
        parts.append(ACS_SOURCES[kind].format(sum(lines.values())))
    if len(chosen) == space.n_images and parts == [ACS_SOURCES["shared"]]:
        parts = ["the centre of each image"]
    source = " or ".join(parts)
    return f"{space.encoding.calibration_mode}: ACS {_product(space.acs)} from {source}"


def _intention(space: SpaceInspection, plan: ScanPlan, settings: Settings) -> str:
    n_virtual = min(plan.n_coils, settings.n_virtual_coils)
    text = f"{settings.model}: {_product(space.lr_matrix)} -> {_product(space.hr_matrix)}, "
    text += f"{n_virtual} virtual coils"
    if space.n_without_acs:
        width = settings.kernel_width
        text += f"; {space.n_without_acs} fallback images, no ACS of {width} x {width}"
    return text


def _system(header: ScanHeader) -> str:
    field = f"{header.field_strength_t:g} T" if header.field_strength_t else ""
    return " ".join(filter(None, (header.system, field))) or "not named"


def _space(matrix: tuple[int, int, int], fov: tuple[float, float, float]) -> str:
    if matrix[0] > 1:
        size = f"{fov[0]:g} x {fov[1]:g} x {fov[2]:g} mm"
        return f"{_product(matrix)} (second phase x phase x readout), {size}"
    size = f"{fov[1]:g} x {fov[2]:g} mm, {fov[0]:g} mm thick"
    return f"{matrix[1]} x {matrix[2]} (phase x readout), {size}"


def _outside(found: Inspection) -> str:
    return f"{found.n_outside} outside the encoded matrix" if found.n_outside else ""


def _whitening(plan: ScanPlan, settings: Settings) -> str:
    if not settings.prewhiten:
        return "off"
    if settings.noise_file:
        return f"from the noise lines of {settings.noise_file}"
    return "from the noise lines" if len(plan.noise) else "no noise lines, noise level estimated"


def _product(matrix: tuple[int, ...]) -> str:
    return " x ".join(map(str, matrix))
