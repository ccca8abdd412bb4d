"""The XML header of a simulated scan."""

from dataclasses import dataclass
from xml.sax.saxutils import escape

from ..geometry import Vector


@dataclass(frozen=True)
class ScanLabels:
    """Names and numbers of the header that the image does not depend on, and where it lies."""

    protocol: str = "jrsr_simulation"
    # Device, patient, session, measurement: by them Gadgetron stores the noise of a scan.
    measurement_id: str = "simulator_phantom_1_1"
    te_ms: tuple[float, ...] = (10.0,)
    tr_ms: float = 500.0
    position_mm: Vector = (0.0, 0.0, 0.0)
    read_dir: Vector = (1.0, 0.0, 0.0)
    phase_dir: Vector = (0.0, 1.0, 0.0)
    slice_dir: Vector = (0.0, 0.0, 1.0)
    slice_gap_mm: float = 0.0
    interleaved: bool = False
    system: str = "JRSR simulation"


@dataclass(frozen=True)
class EncodingText:
    """One encoding space: matrices and fields of view ``(z, y, x)``, limits by counter name.

    `limits` are (minimum, maximum, center); none are written where it is empty.
    """

    matrix: tuple[int, int, int]
    fov_mm: Vector
    recon_matrix: tuple[int, int, int]
    recon_fov_mm: Vector
    limits: dict[str, tuple[int, int, int]]
    trajectory: str = "cartesian"
    acceleration: int = 1
    calibration: str = ""

    def xml(self) -> str:
        """Return the element ``encoding``."""
        text = _space("encodedSpace", self.matrix, self.fov_mm)
        text += _space("reconSpace", self.recon_matrix, self.recon_fov_mm)
        limits = "".join(_limit(name, *values) for name, values in self.limits.items())
        text += _tag("encodingLimits", limits) + _tag("trajectory", self.trajectory)
        if self.calibration:
            text += _parallel_imaging(self.acceleration, self.calibration)
        return _tag("encoding", text)


def header_xml(labels: ScanLabels, n_coils: int, encodings: list[EncodingText]) -> str:
    """Return the ISMRMRD header."""
    times = _tag("TR", labels.tr_ms) + "".join(_tag("TE", te) for te in labels.te_ms)
    body = (
        _patient_and_system(labels, n_coils)
        + _tag("experimentalConditions", _tag("H1resonanceFrequency_Hz", 127740000))
        + "".join(encoding.xml() for encoding in encodings)
        + _tag("sequenceParameters", times)
    )
    root = '<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{root}{body}</ismrmrdHeader>'


def _patient_and_system(labels: ScanLabels, n_coils: int) -> str:
    measurement = (
        _tag("measurementID", escape(labels.measurement_id))
        + _tag("patientPosition", "HFS")
        + _tag("protocolName", escape(labels.protocol))
    )
    system = (
        _tag("systemVendor", escape(labels.system))
        + _tag("systemFieldStrength_T", 3)
        + _tag("relativeReceiverNoiseBandwidth", 1)
        + _tag("receiverChannels", n_coils)
    )
    return _tag("measurementInformation", measurement) + _tag(
        "acquisitionSystemInformation", system
    )


def _space(name: str, matrix: tuple[int, int, int], fov: Vector) -> str:
    sizes = "".join(_tag(axis, n) for axis, n in zip("xyz", reversed(matrix), strict=True))
    lengths = "".join(
        _tag(axis, f"{mm:.9g}") for axis, mm in zip("xyz", reversed(fov), strict=True)
    )
    return _tag(name, _tag("matrixSize", sizes) + _tag("fieldOfView_mm", lengths))


def _limit(name: str, low: int, high: int, center: int) -> str:
    return _tag(name, _tag("minimum", low) + _tag("maximum", high) + _tag("center", center))


def _parallel_imaging(acceleration: int, calibration: str) -> str:
    step = "kspace_encoding_step"
    factor = _tag(f"{step}_1", acceleration) + _tag(f"{step}_2", 1)
    return _tag(
        "parallelImaging",
        _tag("accelerationFactor", factor) + _tag("calibrationMode", calibration),
    )


def _tag(name: str, content: object) -> str:
    return f"<{name}>{content}</{name}>"
