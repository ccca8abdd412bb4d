"""What to simulate: one frozen model, checked when it is made."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jrsr_core.common.validation import one_line

REFERENCES = ("separate", "external", "volume")
"""Calibrations that are a scan of their own."""

Calibration = Literal["embedded", "interleaved", "separate", "external", "volume", "none"]
Order = Literal["sequential", "interleaved", "reversed", "by-line"]
Trajectory = Literal["cartesian", "epi", "radial", "spiral"]


class SimulationError(ValueError):
    """A request that cannot be simulated; the message names the field and what was expected."""


class UnusualHeaders(BaseModel):
    """Ways of writing a scan that the standard allows and few scanners use, to test readers."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )

    noise_scans: int = Field(1, ge=1)
    """Number of noise scans."""
    noise_dwell: float = Field(1.0, ge=0.01, le=100)
    """Dwell time of the noise lines over that of the image lines."""
    segments: int = Field(1, ge=1)
    """Number of segments that the lines are dealt out to."""
    alternate: bool = False
    """Acquire every other readout backwards."""
    spare_lines: bool = False
    """Add one line of every kind that is not image data."""
    spare_encoding: bool = False
    """Add an encoding space that no line uses."""
    limits: bool = True
    """Write encoding limits into the header."""
    trajectory: Trajectory = "cartesian"
    """Trajectory named by the header."""


class ScanRequest(UnusualHeaders):
    """Everything that defines a simulated scan; None leaves a number to the protocol.

    Raises
    ------
    SimulationError
        An unknown name, a number out of range, or two fields that exclude each other.
    """

    protocol: str = "brain-5x"
    """brain-5x (2-D) or wall-16x (3-D)."""
    mask: str | None = None
    """gaussian, regular, poisson, random or full."""
    acceleration: float | None = Field(None, ge=1)
    """Acceleration of the image scan."""
    acs: int | None = Field(None, ge=1)
    """Width of the fully sampled centre in lines."""
    n_coils: int | None = Field(None, ge=1)
    """Number of receive coils."""
    image: str = ""
    """FILE:INDEX of the object, FILE an image stack (HDF5); the phantom if not given."""
    matrix: str = ""
    """High-resolution matrix of the phantom, as 232x256 (y, x)."""
    positions: int = Field(64, ge=2)
    """Readout positions of a 3-D scan."""
    noise_db: float | None = None
    """Signal-to-noise ratio in dB."""
    noise_scan: bool = True
    """Write noise lines."""
    oversampling: bool = True
    """Oversample the readout twofold."""
    phase_oversampling: float = Field(1.0, ge=1, le=4)
    """Acquired over reconstructed field of view, phase encode."""
    phase_fov: float = Field(1.0, ge=0.5, le=1)
    """Acquired field of view over the object's, phase encode; below 1 the object folds over."""
    readout_pixel: float = Field(1.0, ge=0.5, le=1)
    """Readout over phase-encode pixel; 0.5 is a high-resolution readout."""
    averages: int = Field(1, ge=1)
    """Number of averages."""
    slices: int = Field(1, ge=1)
    """Number of slices."""
    contrasts: int = Field(1, ge=1)
    """Number of contrasts."""
    phases: int = Field(1, ge=1)
    """Number of phases."""
    repetitions: int = Field(1, ge=1)
    """Number of repetitions."""
    sets: int = Field(1, ge=1)
    """Number of sets."""
    order: Order = "sequential"
    """Order of slices: sequential, interleaved, reversed or by-line."""
    calibration: Calibration = "embedded"
    """embedded, interleaved, separate, external, volume (3-D for slices) or none."""
    partial_fourier: float = Field(1.0, ge=0.5, le=1)
    """Measured fraction of the phase encode."""
    partial_slice_fourier: float = Field(1.0, ge=0.5, le=1)
    """Measured fraction of the second phase encode (3-D)."""
    # At 0.5 the centre is sample 0, which in a line header means that the centre is not given.
    partial_echo: float = Field(1.0, ge=0.55, le=1)
    """Measured fraction of the readout."""
    second_encoding: bool = False
    """Measure everything again on 3/4 of the matrix, as encoding space 1."""
    tilt: float = 0.0
    """Oblique slices: degrees about the readout axis."""
    turn: float = 0.0
    """Turned slices: degrees about the slice axis."""
    seed: int = Field(0, ge=0)
    """Seed of coils, phase and noise."""

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise SimulationError(one_line(error, ScanRequest)) from None
        if self.phase_fov < 1 < self.phase_oversampling:
            raise SimulationError(
                f"phase_fov is {self.phase_fov}, phase_oversampling {self.phase_oversampling}: "
                "one of them must be 1"
            )

    def override(self, **values: Any) -> "ScanRequest":
        """Return the request with other values by name, checked like the first ones."""
        return ScanRequest(**dict(self) | values)

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
