"""The command `jrsr simulate`; its options are the fields of `ScanRequest`."""

from inspect import Parameter, Signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gadget.console import print_line
from gadget.errors import Exit, UsageError
from gadget.inputs import check_inputs_stay
from gadget.output.names import check_extension
from jrsr_core.common.spelling import counted
from jrsr_core.common.validation import choices_of
from jrsr_core.mrd.simulator.request import ScanRequest, SimulationError, UnusualHeaders

from .options import Overwrite, app

if TYPE_CHECKING:
    from jrsr_core.mrd.simulator.simulate import SimulatedScan

SHORT_NAMES = {"acceleration": "--accel", "n_coils": "--coils"}


def simulate(output: Path, truth: Path | None, overwrite: bool, **request: Any) -> int:
    """Write a simulated ISMRMRD scan as a scanner would, 2-D or 3-D."""
    # Imported here: the command line has to start without torch.
    from jrsr_core.mrd.simulator.simulate import write_simulation
    from jrsr_core.simulation.image_stack import StackLayoutError

    outputs = [output, *([truth] if truth else [])]
    for path in outputs:
        check_extension(path, "mrd", "simulate")
    image = request["image"].rpartition(":")[0]
    check_inputs_stay(outputs, [Path(image) if image else None])
    if truth is not None and truth.resolve() == output.resolve():
        raise UsageError(f"{output} is named for the scan and for its truth")
    try:
        made = write_simulation(ScanRequest(**request), output, truth, overwrite=overwrite)
    except (SimulationError, StackLayoutError) as error:
        raise UsageError(str(error)) from None
    image = next(f for f in made.frames if not f.reference)
    n_coils, *matrix = image.kspace.shape
    sizes = " x ".join(str(n) for n in matrix if n > 1)
    size = f"{counted(len(made.frames), 'frame')}, {counted(n_coils, 'coil')}, {sizes}"
    print_line(f"{output}: {size}, acceleration {_acceleration(made):.2f}")
    return Exit.DONE


def _acceleration(scan: "SimulatedScan") -> float:
    """Return the acceleration of the first image, counted as `jrsr check` counts it."""
    from jrsr_core.data.acceleration import acceleration_of
    from jrsr_core.mrd.header.scan_header import parse_header
    from jrsr_core.mrd.lines.grid import line_counts
    from jrsr_core.mrd.planning.plan import plan_scan

    heads = scan.lines.heads
    plan = plan_scan(parse_header(scan.header_xml), heads)
    counters, lines = next(iter(plan.groups.items()))
    return acceleration_of(line_counts(heads[lines], plan.layout_of(counters)) > 0)


def _parameter(name: str, default: Any, kind: Any, option: Any) -> Parameter:
    annotation = Annotated[kind, option]
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _parameters() -> list[Parameter]:
    """Return one parameter per option, in typer's form."""
    output = typer.Option("-o", "--output", help="File to write.")
    truth = typer.Option(help="File for the true images.")
    parameters = [
        _parameter("output", ..., Path, output),
        _parameter("truth", None, Path | None, truth),
        Parameter("overwrite", Parameter.KEYWORD_ONLY, default=False, annotation=Overwrite),
    ]
    for name, field in ScanRequest.model_fields.items():
        if name not in UnusualHeaders.model_fields:
            names = [SHORT_NAMES[name]] if name in SHORT_NAMES else []
            option = typer.Option(*names, help=field.description)
            # A choice is taken as text: the model names the nearest one.
            kind = str if choices_of(field) else field.annotation
            parameters.append(_parameter(name, field.default, kind, option))
    return parameters


def _register() -> None:
    parameters = _parameters()
    setattr(simulate, "__signature__", Signature(parameters))  # noqa: B010
    simulate.__annotations__ = {p.name: p.annotation for p in parameters}
    app.command()(simulate)


_register()
