"""Makes one classic MR Image Storage data set (DICOM PS3.3, A.4) from one plane.

The geometry comes from the image header, never from the scan header: position of the first voxel,
directions, pixel spacing with row (y) first. One rescale holds for the whole series,

    value = slope * n,   n = round(value / slope) in 0..32767,

so that its images can be compared. Pixels use 15 of 16 bits, because some readers take them as
signed; they are signed only if the series has negative values. Identifiers follow from the content:
reconstructing the same pixels again gives the same ones, and other pixels never do.
"""

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage
from pydicom.valuerep import DSfloat

from gadget.output.planes import Plane
from jrsr_core.mrd.images import RESEARCH_USE, software_version

from .identifiers import make_uid
from .labels import Labels
from .modules import STORED_MAX, SharedAttributes, decimal, new_data_set


def classic_image(plane: Plane, shared: SharedAttributes, labels: Labels) -> Dataset:
    """Return the data set of one plane, without file meta information."""
    uid = make_uid(shared.uid, plane.number)
    ds = new_data_set(MRImageStorage, uid, plane.pixels.shape, shared, labels)
    _put_image(ds, plane)
    _put_plane(ds, plane, shared)
    _put_acquisition(ds, plane, labels)
    _put_pixels(ds, plane, shared)
    return ds


def derivation(plane: Plane) -> str:
    """Return how the image was made, in at most 1024 characters."""
    meta = plane.meta
    size = " x ".join(map(str, _list(meta.get("JRSR_acquired_matrix", []))))
    made = meta.get("JRSR_model", "unknown system")
    if weights := meta.get("JRSR_weights_sha256"):
        made += f", weights sha256 {weights}"
    if "JRSR_model" not in meta:
        return f"Converted from ISMRMRD by JRSR {software_version()}"
    text = f"Joint reconstruction and super-resolution by JRSR {software_version()}: {made}; "
    text += f"acquired matrix {size}, acceleration {meta.get('JRSR_acceleration', '?')}. "
    if plane.is_fallback:
        text += f"FALLBACK IMAGE, not from the model: {meta['JRSR_fallback']}. "
    return (text + f"{RESEARCH_USE}.")[:1024]


def _put_image(ds: Dataset, plane: Plane) -> None:
    ds.ImageType = image_type(plane)
    ds.InstanceNumber = plane.number
    ds.AcquisitionNumber = plane.counters["repetition"] + 1
    ds.ImageComments = "; ".join(_list(plane.meta.get("ImageComment", "")))[:10240]
    ds.DerivationDescription = derivation(plane)


def image_type(plane: Plane) -> list[str]:
    """Return ImageType: M, P, R or I as converters read it, then JRSR or FALLBACK for ours."""
    if role := plane.meta.get("JRSR_map", ""):
        return ["DERIVED", "PRIMARY", "OTHER", role.upper()[:16]]
    kind = ["DERIVED", "PRIMARY", "OTHER", plane.part[0]]
    if "JRSR_model" in plane.meta:
        kind.append("FALLBACK" if plane.is_fallback else "JRSR")
    return kind


def _put_plane(ds: Dataset, plane: Plane, shared: SharedAttributes) -> None:
    ds.ImagePositionPatient = [decimal(v) for v in plane.first]
    ds.ImageOrientationPatient = [decimal(v) for v in (*plane.row, *plane.column)]
    ds.PixelSpacing = [decimal(v) for v in plane.spacing]
    ds.SliceThickness = decimal(plane.thickness)
    ds.SliceLocation = decimal(plane.location)
    if shared.gap is not None:
        ds.SpacingBetweenSlices = decimal(shared.gap)


def _put_acquisition(ds: Dataset, plane: Plane, labels: Labels) -> None:
    contrast = plane.counters["contrast"]
    sequence, variant = labels.scanning_sequence()
    ds.ScanningSequence, ds.SequenceVariant = sequence, variant
    ds.ScanOptions = ""
    ds.MRAcquisitionType = "2D" if plane.step is None else "3D"
    ds.RepetitionTime = _entry(labels, "TR", contrast)
    ds.EchoTime = echo_time(plane, labels)
    ds.EchoTrainLength = None
    ds.EchoNumbers = contrast + 1
    ds.TemporalPositionIdentifier = plane.counters["repetition"] + 1
    if (inversion := _entry(labels, "TI", contrast)) is not None:
        ds.InversionTime = inversion
    if (angle := _entry(labels, "flipAngle_deg", contrast)) is not None:
        ds.FlipAngle = angle
    if tesla := labels.number("acquisitionSystemInformation/systemFieldStrength_T"):
        ds.MagneticFieldStrength = decimal(tesla)
    if hertz := labels.number("experimentalConditions/H1resonanceFrequency_Hz"):
        ds.ImagingFrequency = decimal(hertz / 1e6)
        ds.ImagedNucleus = "1H"
    # Rows are phase encodes, columns the readout.
    ds.InPlanePhaseEncodingDirection = "COL"
    acquired = [int(n) for n in _list(plane.meta.get("JRSR_acquired_matrix", []))]
    if len(acquired) >= 2:
        ds.AcquisitionMatrix = [0, acquired[-1], acquired[-2], 0]
    acceleration = float(plane.meta.get("JRSR_acceleration", 1.0))
    ds.PercentSampling = decimal(100 / acceleration)


def echo_time(plane: Plane, labels: Labels) -> DSfloat | None:
    """Return the echo time of the plane's contrast, ms; None if the header does not say it."""
    return _entry(labels, "TE", plane.counters["contrast"])


def _put_pixels(ds: Dataset, plane: Plane, shared: SharedAttributes) -> None:
    ds.RescaleSlope, ds.RescaleIntercept = decimal(shared.slope), decimal(0.0)
    ds.RescaleType = "US"
    ds.WindowCenter, ds.WindowWidth = (decimal(v) for v in shared.window)
    if shared.window[1] < 1:
        # The scanner's scale may be tiny, and the default function takes no width below 1.
        ds.VOILUTFunction = "LINEAR_EXACT"
    ds.PixelData = stored_pixels(plane, shared).tobytes()


def stored_pixels(plane: Plane, shared: SharedAttributes) -> np.ndarray:
    """Return 16-bit pixels, scaled by the slope exactly as its decimal string is written."""
    slope = float(decimal(shared.slope))
    values = np.clip(np.round(plane.pixels / slope), -STORED_MAX, STORED_MAX)
    return values.astype("<i2" if shared.is_signed else "<u2")


def _entry(labels: Labels, name: str, contrast: int) -> DSfloat | None:
    """Return a sequence parameter of a contrast; a single value holds for all contrasts."""
    values = labels.numbers(f"sequenceParameters/{name}")
    if not values or (contrast >= len(values) and len(values) > 1):
        return None
    return decimal(values[contrast if len(values) > 1 else 0])


def _list(value: object) -> list:
    if isinstance(value, list | tuple):
        return list(value)
    return [value] if value else []
