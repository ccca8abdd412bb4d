"""The XML header of a simulated scan."""

from dataclasses import dataclass
from xml.sax.saxutils import escape

from ..geometry import Vector


@dataclass(frozen=True)
class ScanLabels:
    """Names and numbers of the header that the image does not depend on."""

    protocol: str = "jrsr_simulation"
    measurement_id: str = "jrsr_simulation_1"
    te_ms: float = 10.0
    tr_ms: float = 500.0
    position_mm: Vector = (0.0, 0.0, 0.0)
    read_dir: Vector = (1.0, 0.0, 0.0)
    phase_dir: Vector = (0.0, 1.0, 0.0)
    slice_dir: Vector = (0.0, 0.0, 1.0)
    slice_gap_mm: float = 0.0
    interleaved: bool = False
    system: str = "JRSR simulation"


@dataclass(frozen=True)
class ScanSize:
    """Sizes of a scan; `n_encoded` is the readout with oversampling."""

    n_encoded: int
    nx: int
    ny: int
    n_coils: int
    n_slices: int
    n_averages: int


def header_xml(labels: ScanLabels, size: ScanSize, fov_mm: Vector, flags: dict[int, int]) -> str:
    """Return the ISMRMRD header; `flags` are the sampled lines with their calibration flags."""
    fov = {"z": fov_mm[0], "y": fov_mm[1], "x": fov_mm[2]}
    wide = fov | {"x": fov_mm[2] * size.n_encoded / size.nx}
    limits = (
        _limit("kspace_encoding_step_1", min(flags), max(flags), size.ny // 2)
        + _limit("kspace_encoding_step_2", 0, 0, 0)
        + _limit("average", 0, size.n_averages - 1, 0)
        + _limit("slice", 0, size.n_slices - 1, 0)
    )
    encoding = (
        _space("encodedSpace", size.n_encoded, size.ny, wide)
        + _space("reconSpace", size.nx, size.ny, fov)
        + _tag("encodingLimits", limits)
        + _tag("trajectory", "cartesian")
    )
    if any(flags.values()):
        encoding += _parallel_imaging(max(1, round(size.ny / len(flags))))
    body = (
        _patient_and_system(labels, size.n_coils)
        + _tag("experimentalConditions", _tag("H1resonanceFrequency_Hz", 127740000))
        + _tag("encoding", encoding)
        + _tag("sequenceParameters", _tag("TR", labels.tr_ms) + _tag("TE", labels.te_ms))
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


def _space(name: str, nx: int, ny: int, fov: dict[str, float]) -> str:
    matrix = _tag("x", nx) + _tag("y", ny) + _tag("z", 1)
    size = "".join(_tag(axis, f"{fov[axis]:.9g}") for axis in "xyz")
    return _tag(name, _tag("matrixSize", matrix) + _tag("fieldOfView_mm", size))


def _limit(name: str, low: int, high: int, center: int) -> str:
    return _tag(name, _tag("minimum", low) + _tag("maximum", high) + _tag("center", center))


def _parallel_imaging(acceleration: int) -> str:
    step = "kspace_encoding_step"
    factor = _tag(f"{step}_1", acceleration) + _tag(f"{step}_2", 1)
    return _tag(
        "parallelImaging",
        _tag("accelerationFactor", factor) + _tag("calibrationMode", "embedded"),
    )


def _tag(name: str, content: object) -> str:
    return f"<{name}>{content}</{name}>"
