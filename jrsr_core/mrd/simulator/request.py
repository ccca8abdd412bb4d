"""What to simulate: one frozen dataclass, checked when it is made."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from jrsr_core.spelling import nearest

REFERENCES = ("separate", "external", "volume")
"""Calibrations that are a scan of their own."""

CALIBRATIONS = ("embedded", "interleaved", *REFERENCES, "none")
ORDERS = ("sequential", "interleaved", "reversed", "by-line")
TRAJECTORIES = ("cartesian", "epi", "radial", "spiral")


class SimulationError(ValueError):
    """A request that cannot be simulated; the message names the field and what was expected."""


def _field(
    default: Any,
    text: str,
    *,
    low: float | None = None,
    high: float | None = None,
    known: tuple[str, ...] = (),
) -> Any:
    metadata = {"description": text, "low": low, "high": high, "known": known}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class UnusualHeaders:
    """Ways of writing a scan that the standard allows and few scanners use, to test readers."""

    deaf_coils: int = _field(0, "Further coils that receive nothing but noise.", low=0)
    noise_scans: int = _field(1, "Number of noise scans.", low=1)
    noise_dwell: float = _field(
        1.0, "Dwell time of the noise lines over that of the image lines.", low=0.01, high=100
    )
    segments: int = _field(1, "Number of segments that the lines are dealt out to.", low=1)
    alternate: bool = _field(False, "Acquire every other readout backwards.")
    spare_lines: bool = _field(False, "Add one line of every kind that is not image data.")
    spare_encoding: bool = _field(False, "Add an encoding space that no line uses.")
    limits: bool = _field(True, "Write encoding limits into the header.")
    trajectory: str = _field("cartesian", "Trajectory named by the header.", known=TRAJECTORIES)


@dataclass(frozen=True, kw_only=True)
class ScanRequest(UnusualHeaders):
    """Everything that defines a simulated scan; None leaves a number to the protocol.

    The description of a field is ``field.metadata["description"]``.

    Raises
    ------
    SimulationError
        An unknown name, a number out of range, or two fields that exclude each other.
    """

    protocol: str = _field("brain-5x", "brain-5x (2-D) or wall-16x (3-D).")
    mask: str | None = _field(None, "gaussian, regular, poisson, random or full.")
    acceleration: float | None = _field(None, "Acceleration of the image scan.", low=1)
    acs: int | None = _field(None, "Width of the fully sampled centre in lines.", low=1)
    n_coils: int | None = _field(None, "Number of receive coils.", low=1)
    image: str = _field("", "FILE:INDEX of the object; the phantom if not given.")
    matrix: str = _field("", "High-resolution matrix of the phantom, as 232x256 (y, x).")
    positions: int = _field(64, "Readout positions of a 3-D scan.", low=2)
    noise_db: float | None = _field(None, "Signal-to-noise ratio in dB.")
    noise_scan: bool = _field(True, "Write noise lines.")
    oversampling: bool = _field(True, "Oversample the readout twofold.")
    phase_oversampling: float = _field(
        1.0, "Acquired over reconstructed field of view, phase encode.", low=1, high=4
    )
    phase_fov: float = _field(
        1.0,
        "Acquired field of view over the object's, phase encode; below 1 the object folds over.",
        low=0.5,
        high=1,
    )
    readout_pixel: float = _field(
        1.0, "Readout over phase-encode pixel; 0.5 is a high-resolution readout.", low=0.5, high=1
    )
    averages: int = _field(1, "Number of averages.", low=1)
    slices: int = _field(1, "Number of slices.", low=1)
    contrasts: int = _field(1, "Number of contrasts.", low=1)
    phases: int = _field(1, "Number of phases.", low=1)
    repetitions: int = _field(1, "Number of repetitions.", low=1)
    sets: int = _field(1, "Number of sets.", low=1)
    order: str = _field(
        "sequential", "Order of slices: sequential, interleaved, reversed or by-line.", known=ORDERS
    )
    calibration: str = _field(
        "embedded",
        "embedded, interleaved, separate, external, volume (3-D for slices) or none.",
        known=CALIBRATIONS,
    )
    partial_fourier: float = _field(1.0, "Measured fraction of the phase encode.", low=0.5, high=1)
    partial_slice_fourier: float = _field(
        1.0, "Measured fraction of the second phase encode (3-D).", low=0.5, high=1
    )
    # At 0.5 the centre is sample 0, which in a line header means that the centre is not given.
    partial_echo: float = _field(1.0, "Measured fraction of the readout.", low=0.55, high=1)
    second_encoding: bool = _field(
        False, "Measure everything again on 3/4 of the matrix, as encoding space 1."
    )
    tilt: float = _field(0.0, "Oblique slices: degrees about the readout axis.")
    turn: float = _field(0.0, "Turned slices: degrees about the slice axis.")
    seed: int = _field(0, "Seed of coils, phase and noise.", low=0)

    def __post_init__(self) -> None:
        """Check every field against its limits."""
        for item in fields(self):
            _check(item.name, getattr(self, item.name), item.metadata)
        if self.phase_fov < 1 < self.phase_oversampling:
            raise SimulationError(
                f"phase_fov is {self.phase_fov}, phase_oversampling {self.phase_oversampling}: "
                "one of them must be 1"
            )

    @property
    def fourier_fractions(self) -> tuple[float, float]:
        """Measured fractions along the second and the first phase encode."""
        return (self.partial_slice_fourier, self.partial_fourier)

    @property
    def is_regular(self) -> bool:
        """Whether the image lines are equally spaced because other lines calibrate."""
        return self.calibration in (*REFERENCES, "interleaved")

    def hr_matrix(self, default: tuple[int, int]) -> tuple[int, int]:
        """Return `matrix` as two sizes ``(y, x)``, `default` if it is empty."""
        if not self.matrix:
            return default
        parts = self.matrix.lower().split("x")
        if len(parts) != 2 or not all(p.isdigit() and int(p) > 0 for p in parts):
            raise SimulationError(f"matrix is {self.matrix!r}, expected two sizes as 232x256")
        return (int(parts[0]), int(parts[1]))


def _check(name: str, value: Any, limits: Mapping[str, Any]) -> None:
    low, high, known = (limits[key] for key in ("low", "high", "known"))
    if known and value not in known:
        raise SimulationError(f"{name} is {value!r}{nearest(value, known)}")
    if low is not None and value is not None and not low <= value <= (high or value):
        expected = f"at least {low:g}" if high is None else f"{low:g} to {high:g}"
        raise SimulationError(f"{name} is {value}, expected {expected}")
