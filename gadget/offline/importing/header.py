"""The ISMRMRD header of an imported scan, made with the schema classes of the `ismrmrd` package."""

from dataclasses import dataclass

import ismrmrd.xsd as xsd
import numpy as np
from xsdata.exceptions import ParserError
from xsdata.formats.dataclass.parsers import XmlParser
from xsdata.formats.dataclass.parsers.config import ParserConfig

from jrsr_core.data import Vector
from jrsr_core.mrd.errors import BadScan
from jrsr_core.mrd.header.scan_header import LIMITED_COUNTERS
from jrsr_core.mrd.lines.acquired import REJECTED, flag_bits

COUNTERS = (*LIMITED_COUNTERS, "segment")

GYROMAGNETIC_HZ_PER_T = 42577478.518
"""Of the proton in water, over 2 pi (CODATA 2018, without shielding)."""


@dataclass(frozen=True)
class EncodingFacts:
    """One encoding space; sizes ``(z, y, x)``, lengths in mm.

    `center` is the counter of k = 0 along the first and the second phase encode.
    """

    matrix: tuple[int, int, int]
    fov_mm: Vector
    recon_matrix: tuple[int, int, int]
    recon_fov_mm: Vector
    center: tuple[int, int]
    acceleration: tuple[int, int] = (1, 1)
    calibration_mode: str = "embedded"
    trajectory: str = "cartesian"
    multiband_factor: int = 1


def encoding_element(facts: EncodingFacts, heads: np.ndarray) -> xsd.encodingType:
    """Return the element of an encoding space; the limits are those of its image lines `heads`."""
    encoding = xsd.encodingType(
        encodedSpace=_space(facts.matrix, facts.fov_mm),
        reconSpace=_space(facts.recon_matrix, facts.recon_fov_mm),
        encodingLimits=_limits(facts, heads),
        trajectory=xsd.trajectoryType(facts.trajectory),
    )
    if facts.acceleration != (1, 1) or facts.multiband_factor > 1:
        encoding.parallelImaging = _parallel_imaging(facts)
    return encoding


def system_element(n_coils: int, field_t: float | None) -> xsd.acquisitionSystemInformationType:
    """Return the element of the scanner: channels, and the field where it is known."""
    return xsd.acquisitionSystemInformationType(
        receiverChannels=n_coils, systemFieldStrength_T=field_t
    )


def conditions_element(field_t: float | None) -> xsd.experimentalConditionsType:
    """Return the element of the resonance frequency, which the standard requires; 0: not known."""
    return xsd.experimentalConditionsType(
        H1resonanceFrequency_Hz=round(GYROMAGNETIC_HZ_PER_T * (field_t or 0.0))
    )


def header_text(document: xsd.ismrmrdHeader) -> str:
    """Return a header as XML."""
    return str(xsd.ToXML(document, encoding="utf-8"))


def read_header(text: str) -> xsd.ismrmrdHeader:
    """Return a header that a file brings along; elements the standard does not know are left out.

    Raises
    ------
    BadScan
        Values that the standard does not allow.
    """
    parser = XmlParser(config=ParserConfig(fail_on_unknown_properties=False))
    try:
        return parser.from_string(text, xsd.ismrmrdHeader)
    except (ParserError, ValueError) as error:
        raise BadScan(f"header: {' '.join(str(error).split())}") from None


def is_image_line(heads: np.ndarray) -> np.ndarray:
    """Return a boolean per line: neither noise nor rejected."""
    return heads["flags"] & np.uint64(flag_bits(*REJECTED)) == 0


def _space(matrix: tuple[int, int, int], fov_mm: Vector) -> xsd.encodingSpaceType:
    (nz, ny, nx), (z, y, x) = matrix, fov_mm
    return xsd.encodingSpaceType(
        matrixSize=xsd.matrixSizeType(x=nx, y=ny, z=nz),
        fieldOfView_mm=xsd.fieldOfViewMm(x=x, y=y, z=z),
    )


def _limits(facts: EncodingFacts, heads: np.ndarray) -> xsd.encodingLimitsType:
    limits = xsd.encodingLimitsType()
    idx = heads["idx"]
    for i, name in enumerate(("kspace_encoding_step_1", "kspace_encoding_step_2")):
        steps = idx[f"kspace_encode_step_{i + 1}"]
        limit = xsd.limitType(
            minimum=int(steps.min()), maximum=int(steps.max()), center=facts.center[i]
        )
        setattr(limits, name, limit)
    for name in COUNTERS:
        setattr(limits, name, xsd.limitType(minimum=0, maximum=int(idx[name].max()), center=0))
    return limits


def _parallel_imaging(facts: EncodingFacts) -> xsd.parallelImagingType:
    y, z = facts.acceleration
    element = xsd.parallelImagingType(
        accelerationFactor=xsd.accelerationFactorType(
            kspace_encoding_step_1=y, kspace_encoding_step_2=z
        ),
        calibrationMode=xsd.calibrationModeType(facts.calibration_mode),
    )
    if facts.multiband_factor > 1:
        element.multiband = xsd.multibandType(
            multiband_factor=facts.multiband_factor,
            deltaKz=0.0,
            calibration=xsd.multibandCalibrationType("full3D"),
            calibration_encoding=0,
        )
    return element
