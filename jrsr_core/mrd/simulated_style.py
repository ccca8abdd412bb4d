"""How a simulated scanner measures and numbers its lines."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ScanStyle:
    """How a scanner measures and numbers its lines; the images are meant to be the same.

    Attributes
    ----------
    order
        Slices sequential, interleaved (odd after even ones), reversed, or by-line: one line of
        every slice in turn.
    partial_fourier
        Measured fractions along the second and the first phase encode; the first lines are missing
        and the counters start at 0 all the same.
    partial_echo
        Measured fraction of the readout; its beginning is missing.
    segments
        Lines are dealt out to so many segments.
    alternate
        Every other readout runs backwards.
    spare_lines
        Add one line of every kind that makes no image.
    limits
        Write encoding limits into the header.
    spare_encoding
        Add an encoding space that no line uses.
    trajectory
        What the header calls it.
    noise_scans, noise_dwell
        Number of noise scans, and their dwell time over that of the image.
    """

    oversampling: bool = True
    order: str = "sequential"
    calibration: str = "embedded"
    acceleration: int | None = None
    partial_fourier: tuple[float, float] = (1.0, 1.0)
    partial_echo: float = 1.0
    segments: int = 1
    alternate: bool = False
    spare_lines: bool = False
    limits: bool = True
    spare_encoding: bool = False
    trajectory: str = "cartesian"
    noise_scans: int = 1
    noise_dwell: float = 1.0
