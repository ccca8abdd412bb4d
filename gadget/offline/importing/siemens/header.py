"""Siemens protocol -> ISMRMRD header, as the parameter map of `siemens_to_ismrmrd` does it.

Other than there, k = 0 is where the readouts say it is, a scan of one partition is 2-D, and neither
names nor numbers of patients are taken.
"""

import ismrmrd.xsd as xsd
import numpy as np

from gadget.offline.importing.header import (
    EncodingFacts,
    encoding_element,
    header_text,
)
from jrsr_core.mrd.header.scan_header import DEFAULT_NOISE_BANDWIDTH

from .protocol import Protocol

TRAJECTORIES = {1: "cartesian", 2: "radial", 4: "spiral"}
CALIBRATION = {2: "embedded", 4: "separate", 8: "separate"}
INTERLEAVED = {16: "average", 32: "repetition", 64: "phase"}
"""Modes of the reference scan (`sPat.ucRefScanMode`)."""

NOT_REGRIDDED = 1
"""`alRegridMode` of readouts without sampling on gradient ramps."""


def siemens_header(protocol: Protocol, heads: np.ndarray, own: np.ndarray) -> str:
    """Return the header of a measurement.

    Parameters
    ----------
    heads, own
        Headers of its image lines, as ISMRMRD and as Siemens has them.

    Raises
    ------
    BadScan
        Values of the protocol that are missing or impossible.
    """
    n_coils = int(heads["active_channels"].max())
    field = protocol.number("flMagneticFieldStrength", default=0.0)
    frequency = protocol.number("lFrequency", default=0.0)
    document = xsd.ismrmrdHeader(
        measurementInformation=xsd.measurementInformationType(
            measurementID=_measurement_id(protocol),
            patientPosition=_patient_position(protocol),
            protocolName=protocol.text("tProtocolName") or None,
            frameOfReferenceUID=protocol.text("tFrameOfReference") or None,
        ),
        acquisitionSystemInformation=xsd.acquisitionSystemInformationType(
            systemVendor=protocol.text("Manufacturer") or "SIEMENS",
            systemModel=protocol.text("ManufacturersModelName") or None,
            systemFieldStrength_T=field or None,
            relativeReceiverNoiseBandwidth=DEFAULT_NOISE_BANDWIDTH,
            receiverChannels=n_coils,
            coilLabel=_coil_labels(protocol, n_coils),
        ),
        experimentalConditions=xsd.experimentalConditionsType(
            H1resonanceFrequency_Hz=round(frequency)
        ),
        encoding=[encoding_element(encoding_facts(protocol, heads, own), heads)],
        sequenceParameters=_sequence(protocol),
    )
    return header_text(document)


def encoding_facts(protocol: Protocol, heads: np.ndarray, own: np.ndarray) -> EncodingFacts:
    """Return the encoding space of a measurement; raises as `siemens_header`."""
    slab = ("sSliceArray", "asSlice", 0)
    oversampling = protocol.number("flReadoutOSFactor", default=1.0)
    phase = 1 + protocol.number("sKSpace", "dPhaseOversamplingForDialog", default=0.0)
    second = 1 + protocol.number("sKSpace", "dSliceOversamplingForDialog", default=0.0)
    ny = protocol.size("iPEFTLength", default=protocol.size("sKSpace", "lPhaseEncodingLines"))
    if protocol.number("sKSpace", "uc2DInterpolation", default=0.0) == 1:
        ny = max(1, ny // 2)
    # The protocol may count the columns that an asymmetric echo has left.
    n_samples = int(heads["number_of_samples"].max())
    n_base = round(protocol.size("sKSpace", "lBaseResolution", default=1) * oversampling)
    nx = max(protocol.size("iNoOfFourierColumns", default=n_samples), n_samples, n_base)
    n_partitions = int(heads["idx"]["kspace_encode_step_2"].max()) + 1
    nz = protocol.size("i3DFTLength", default=n_partitions) if n_partitions > 1 else 1
    x, y, z = (protocol.number(*slab, f"d{n}") for n in ("ReadoutFOV", "PhaseFOV", "Thickness"))
    is_3d = nz > 1
    n_images = protocol.size("sKSpace", "lImagesPerSlab", default=nz) if is_3d else 1
    return EncodingFacts(
        matrix=(nz, ny, nx),
        fov_mm=(z * second if is_3d else z, y * phase, x * oversampling),
        recon_matrix=(n_images, max(1, round(ny / phase)), max(1, round(nx / oversampling))),
        recon_fov_mm=(z, y, x),
        center=(
            center_of(own["CenterLin"], own["Counter"]["Lin"], ny),
            center_of(own["CenterPar"], own["Counter"]["Par"], nz) if is_3d else 0,
        ),
        acceleration=(
            protocol.size("sPat", "lAccelFactPE", default=1),
            protocol.size("sPat", "lAccelFact3D", default=1),
        ),
        calibration_mode=_calibration_mode(protocol),
        trajectory=_trajectory(protocol),
        multiband_factor=protocol.size("sSliceAcceleration", "lMultiBandFactor", default=1),
    )


def dwell_us(protocol: Protocol) -> float:
    """Return the dwell time of image readouts in us, 0 if the protocol has none."""
    times = protocol.numbers("sRXSPEC", "alDwellTime", n=1)
    return times[0] / 1000 if times else 0.0


def center_of(stated: np.ndarray, lines: np.ndarray, n: int) -> int:
    """Return the counter of k = 0 along an axis of `n` places.

    It is the one that most readouts state. If lines lie outside the axis with it, and none with the
    middle, it is the middle: Pulseq's sequences state one less.
    """
    found, counts = np.unique(stated, return_counts=True)
    center = int(found[counts.argmax()])
    first, last = int(lines.min()), int(lines.max())

    def fits(c: int) -> bool:
        return first - c + n // 2 >= 0 and last - c + n // 2 < n

    return n // 2 if fits(n // 2) and not fits(center) else center


def _trajectory(protocol: Protocol) -> str:
    name = TRAJECTORIES.get(round(protocol.number("sKSpace", "ucTrajectory", default=1.0)), "other")
    regridding = protocol.numbers("alRegridMode", n=1)
    is_ramp_sampled = bool(regridding) and regridding[0] > NOT_REGRIDDED
    return "epi" if name == "cartesian" and is_ramp_sampled else name


def _calibration_mode(protocol: Protocol) -> str:
    mode = round(protocol.number("sPat", "ucRefScanMode", default=1.0))
    return "interleaved" if mode in INTERLEAVED else CALIBRATION.get(mode, "other")


def _patient_position(protocol: Protocol) -> xsd.patientPositionType:
    text = protocol.text("tPatientPosition") or protocol.text("sPatPosition")
    try:
        return xsd.patientPositionType(text)
    except ValueError:
        # The standard needs one; directions and positions are the patient's in every one.
        return xsd.patientPositionType.HFS


def _measurement_id(protocol: Protocol) -> str:
    serial = protocol.text("DeviceSerialNumber")
    number = protocol.number("MeasUID", default=0.0)
    return "_".join(filter(None, (serial, f"{number:.0f}")))


def _coil_labels(protocol: Protocol, n_coils: int) -> list[xsd.coilLabelType]:
    """Return names in the order of the channels, which is that of their converters (ADC)."""
    named = []
    for entry in protocol.list("sCoilSelectMeas", "aRxCoilSelectData", 0, "asList"):
        element = entry.get("sCoilElementID") if isinstance(entry, dict) else None
        if not isinstance(element, dict) or not isinstance(entry.get("lADCChannelConnected"), int):
            return []
        name = f"{element.get('tCoilID', '')}:{element.get('tElement', '')}".replace('"', "")
        named.append((entry["lADCChannelConnected"], name))
    if len(named) != n_coils:
        return []
    return [
        xsd.coilLabelType(coilNumber=i, coilName=name) for i, (_, name) in enumerate(sorted(named))
    ]


def _sequence(protocol: Protocol) -> xsd.sequenceParametersType:
    n_echoes = protocol.size("lContrasts", default=1)
    return xsd.sequenceParametersType(
        TR=[t / 1000 for t in protocol.numbers("alTR", n=1)],
        TE=[t / 1000 for t in protocol.numbers("alTE", n=n_echoes)],
        TI=[t / 1000 for t in protocol.numbers("alTI", n=1) if t > 0],
        flipAngle_deg=protocol.numbers("adFlipAngleDegree", n=1),
    )
