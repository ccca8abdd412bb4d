"""What `jrsr simulate` may be asked for: one dataclass, which makes the command's options."""

from dataclasses import dataclass, field, fields
from inspect import Parameter
from typing import Annotated, Any, get_type_hints

import typer

from gadget.errors import UsageError
from gadget.settings import nearest

CALIBRATIONS = ("embedded", "interleaved", "separate", "external", "volume", "none")
REFERENCES = ("separate", "external", "volume")
"""Calibrations that are a scan of their own."""

ORDERS = ("sequential", "interleaved", "reversed", "by-line")
TRAJECTORIES = ("cartesian", "epi", "radial", "spiral")


def option(default: Any, text: str, *names: str, **limits: Any) -> Any:
    """Return a field with its help text, option names and limits."""
    return field(default=default, metadata={"names": names, "help": text, **limits})


@dataclass(frozen=True)
class ScanRequest:
    """What to simulate; None leaves a number to the protocol."""

    protocol: str = option("brain-5x", "brain-5x (2-D) or wall-16x (3-D).")
    mask: str | None = option(None, "gaussian, regular, poisson, random or full.")
    acceleration: float | None = option(None, "Acceleration.", "--accel")
    acs: int | None = option(None, "Width of the fully sampled centre.", min=1)
    n_coils: int | None = option(None, "Receive coils.", "--coils", min=1)
    deaf_coils: int = option(0, "Further coils that see nothing but noise.", min=0)
    image: str = option("", "FILE:INDEX of the object; the phantom without.")
    matrix: str = option("", "High-resolution matrix of the phantom, as 232x256 (y, x).")
    positions: int = option(64, "Readout positions of a 3-D scan.", min=2)
    noise_db: float | None = option(None, "Signal to noise in dB.")
    noise_scan: bool = option(True, "Write noise lines.")
    noise_scans: int = option(1, "Number of noise scans.", min=1)
    noise_dwell: float = option(1.0, "Dwell time of the noise lines over that of the image.")
    oversampling: bool = option(True, "Oversample the readout twice.")
    phase_oversampling: float = option(1.0, "Acquired over wanted field of view, phase encode.")
    phase_fov: float = option(
        1.0, "Acquired field of view over the object's, phase encode; below 1 it is folded over."
    )
    readout_pixel: float = option(1.0, "Readout over phase-encode pixel; 0.5 is HR already.")
    averages: int = option(1, "Times every line is measured.", min=1)
    slices: int = option(1, "Number of slices.", min=1)
    contrasts: int = option(1, "Number of contrasts.", min=1)
    phases: int = option(1, "Number of phases.", min=1)
    repetitions: int = option(1, "Number of repetitions.", min=1)
    sets: int = option(1, "Number of sets.", min=1)
    segments: int = option(1, "Segments that the lines are dealt out to.", min=1)
    interleaved: bool = option(False, "Odd slices after even ones.")
    order: str = option("sequential", "sequential, interleaved, reversed or by-line.")
    calibration: str = option(
        "embedded", "embedded, interleaved, separate, external, volume (3-D for slices) or none."
    )
    partial_fourier: float = option(1.0, "Measured fraction of the phase encode.")
    partial_slice_fourier: float = option(1.0, "The same of the second phase encode (3-D).")
    partial_echo: float = option(1.0, "Measured fraction of the readout.")
    alternate: bool = option(False, "Every other readout backwards.")
    spare_lines: bool = option(False, "Add one line of every kind that makes no image.")
    spare_encoding: bool = option(False, "Add an encoding space that no line uses.")
    second_encoding: bool = option(False, "Measure all again on 3/4 of the matrix, as encoding 1.")
    limits: bool = option(True, "Write encoding limits.")
    trajectory: str = option("cartesian", "What the header calls it: cartesian, epi, ...")
    tilt: float = option(0.0, "Oblique slices: degrees about the readout axis.")
    turn: float = option(0.0, "Turned slices: degrees about the slice axis.")
    seed: int = option(0, "Coils, phase and noise.", min=0)

    def __post_init__(self) -> None:
        """Refuse names that are not known and fractions that make no sense."""
        for name, known in (
            ("calibration", CALIBRATIONS),
            ("order", ORDERS),
            ("trajectory", TRAJECTORIES),
        ):
            value = getattr(self, name)
            if value not in known:
                raise UsageError(f"{name} is {value!r}{nearest(value, known)}")
        for name, low, high in (
            ("partial_fourier", 0.5, 1.0),
            ("partial_slice_fourier", 0.5, 1.0),
            # At 0.5 the centre is sample 0, by which a head says that it tells none.
            ("partial_echo", 0.55, 1.0),
            ("phase_oversampling", 1.0, 4.0),
            ("phase_fov", 0.5, 1.0),
            ("readout_pixel", 0.5, 1.0),
            ("noise_dwell", 0.01, 100.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise UsageError(f"{name} is {value}, expected {low:g} to {high:g}")
        if self.phase_fov < 1 < self.phase_oversampling:
            raise UsageError(
                f"phase_fov is {self.phase_fov}, phase_oversampling {self.phase_oversampling}: "
                "one or the other"
            )

    def hr_matrix(self, default: tuple[int, int]) -> tuple[int, int]:
        """Return `matrix` as numbers."""
        if not self.matrix:
            return default
        parts = self.matrix.lower().split("x")
        if len(parts) != 2 or not all(p.isdigit() and int(p) > 0 for p in parts):
            raise UsageError(f"matrix is {self.matrix!r}, expected two sizes as 232x256")
        return (int(parts[0]), int(parts[1]))


def request_parameters() -> list[Parameter]:
    """Return the options of the command, one for every field."""
    hints = get_type_hints(ScanRequest)
    parameters = []
    for f in fields(ScanRequest):
        more = {k: v for k, v in f.metadata.items() if k != "names"}
        kind = Annotated[hints[f.name], typer.Option(*f.metadata["names"], **more)]
        parameters.append(
            Parameter(f.name, Parameter.KEYWORD_ONLY, default=f.default, annotation=kind)
        )
    return parameters
