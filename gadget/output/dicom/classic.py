"""One plane -> one classic MR Image Storage data set (DICOM PS3.3, A.4).

Geometry comes from the image header alone, never from the scan header: position of the first voxel,
directions, pixel spacing row (y) first. One rescale for the whole series,

    value = slope * stored,   stored = round(value / slope) in 0..32767,

so that images of a series can be compared; 15 of the 16 bits are used, for readers that take them
as signed, and they are signed only where a series has negative values. Identifiers follow from the
content, so that a replay with the same pixels has the same ones, and other pixels never do.
"""

from collections.abc import Sequence

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import UID, MRImageStorage
from pydicom.valuerep import DSfloat

from gadget.output.planes import Plane, Series, series_window
from jrsr_core.mrd.images import RESEARCH_USE, software_version

from .identifiers import digest, make_uid, study_and_frame
from .labels import Labels
from .modules import SeriesFacts, decimal, put_patient_and_study, put_series, scanning_sequence

STORED_MAX = 32767


def series_facts(series: Series, labels: Labels, content: str) -> SeriesFacts:
    """Return what a finished series has in common; `content` is a hash of all series."""
    heads = series.heads
    meta = heads[0].meta
    study, frame = study_and_frame(labels, content)
    made_by = (software_version(), meta.get("JRSR_model", ""), meta.get("JRSR_weights_sha256", ""))
    uid = make_uid(study, digest(labels.xml), series.number, *made_by, series.digest.hexdigest())
    peak = max(series.top, -series.bottom)
    return SeriesFacts(
        study=study,
        frame_of_reference=frame,
        uid=uid,
        number=series.number,
        description=_series_description(heads),
        slope=peak / STORED_MAX if peak > 0 else 1.0,
        is_signed=series.bottom < 0,
        window=series_window(series),
        gap=slice_distance(heads),
    )


def slice_distance(heads: Sequence[Plane]) -> float | None:
    """Return the distance of neighbouring parallel slices, None where it is not one number."""
    if heads[0].step is not None:
        return heads[0].step
    normal = heads[0].normal
    if any(float(head.normal @ normal) < 1 - 1e-6 for head in heads):
        return None
    places = np.unique(np.round([head.location for head in heads], 3))
    steps = np.diff(places)
    if not len(steps) or np.ptp(steps) > 0.01 * steps.max() + 2e-3:
        return None
    return float(steps.mean())


def _series_description(heads: Sequence[Plane]) -> str:
    if n := sum(head.is_fallback for head in heads):
        return f"JRSR, {n} of {len(heads)} FALLBACK images"
    meta = heads[0].meta
    if "JRSR_model" not in meta:
        part = "" if heads[0].part == "MAGNITUDE" else f", {heads[0].part.lower()}"
        return f"ISMRMRD series {heads[0].series}{part}"
    return f"JRSR {meta.get('JRSR_model', '')} {meta.get('JRSR_map', '')}".strip()[:64]


def classic_image(plane: Plane, facts: SeriesFacts, labels: Labels) -> Dataset:
    """Return the data set of one plane, without file meta information."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = MRImageStorage
    ds.SOPInstanceUID = UID(make_uid(facts.uid, plane.number))
    put_patient_and_study(ds, facts, labels)
    put_series(ds, facts, labels)
    _put_image(ds, plane)
    _put_plane(ds, plane, facts)
    _put_acquisition(ds, plane, labels)
    _put_pixels(ds, plane, facts)
    return ds


def derivation(plane: Plane) -> str:
    """Say by what the image was made, in at most 1024 characters."""
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
    ds.BurnedInAnnotation = "NO"
    ds.LossyImageCompression = "00"


def image_type(plane: Plane) -> list[str]:
    """Return ImageType; M, P, R, I are the parts as converters know them, the last one is ours."""
    if role := plane.meta.get("JRSR_map", ""):
        return ["DERIVED", "PRIMARY", "OTHER", role.upper()[:16]]
    kind = ["DERIVED", "PRIMARY", "OTHER", plane.part[0]]
    if "JRSR_model" in plane.meta:
        kind.append("FALLBACK" if plane.is_fallback else "JRSR")
    return kind


def _put_plane(ds: Dataset, plane: Plane, facts: SeriesFacts) -> None:
    ds.ImagePositionPatient = [decimal(v) for v in plane.first]
    ds.ImageOrientationPatient = [decimal(v) for v in (*plane.row, *plane.column)]
    ds.PixelSpacing = [decimal(v) for v in plane.spacing]
    ds.SliceThickness = decimal(plane.thickness)
    ds.SliceLocation = decimal(plane.location)
    if facts.gap is not None:
        ds.SpacingBetweenSlices = decimal(facts.gap)


def _put_acquisition(ds: Dataset, plane: Plane, labels: Labels) -> None:
    contrast = plane.counters["contrast"]
    sequence, variant = scanning_sequence(labels.text("sequenceParameters/sequence_type"))
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
    """Return the echo time in ms of the plane's contrast, None where the header is silent."""
    return _entry(labels, "TE", plane.counters["contrast"])


def _put_pixels(ds: Dataset, plane: Plane, facts: SeriesFacts) -> None:
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = plane.pixels.shape
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit, ds.PixelRepresentation = 15, int(facts.is_signed)
    ds.RescaleSlope, ds.RescaleIntercept = decimal(facts.slope), decimal(0.0)
    ds.RescaleType = "US"
    ds.WindowCenter, ds.WindowWidth = (decimal(v) for v in facts.window)
    if facts.window[1] < 1:
        # A scanner's own scale may be tiny; the usual function knows no width below 1.
        ds.VOILUTFunction = "LINEAR_EXACT"
    ds.PixelData = stored_pixels(plane, facts).tobytes()


def stored_pixels(plane: Plane, facts: SeriesFacts) -> np.ndarray:
    """Return pixels of 16 bits; by the slope as it is written, with its 16 characters."""
    slope = float(decimal(facts.slope))
    values = np.clip(np.round(plane.pixels / slope), -STORED_MAX, STORED_MAX)
    return values.astype("<i2" if facts.is_signed else "<u2")


def _entry(labels: Labels, name: str, contrast: int) -> DSfloat | None:
    """Value of a list of sequence parameters for a contrast; one value holds for all."""
    values = labels.numbers(f"sequenceParameters/{name}")
    if not values or (contrast >= len(values) and len(values) > 1):
        return None
    return decimal(values[contrast if len(values) > 1 else 0])


def _list(value: object) -> list:
    if isinstance(value, list | tuple):
        return list(value)
    return [value] if value else []
