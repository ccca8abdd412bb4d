"""Makes one classic MR Image Storage data set (DICOM PS3.3, A.4) from one plane.

The geometry comes from the image header, never from the scan header: position of the first voxel,
directions, pixel spacing with row (y) first. Pixels are integers without a rescale (`stored`).
Identifiers follow from the content: reconstructing the same pixels again gives the same ones, and
other pixels never do.
"""

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import MRImageStorage
from pydicom.valuerep import DSfloat

from gadget.output.labels import Labels
from gadget.output.series.attributes import texts_of
from gadget.output.series.planes import Plane

from .identifiers import make_uid
from .marks import derivation
from .modules import SharedAttributes, decimal, new_data_set


def classic_image(plane: Plane, shared: SharedAttributes, labels: Labels) -> Dataset:
    """Return the data set of one plane, without file meta information."""
    uid = make_uid(shared.uid, plane.number)
    ds = new_data_set(MRImageStorage, uid, plane.pixels.shape, shared, labels)
    _put_image(ds, plane)
    _put_plane(ds, plane, shared)
    _put_acquisition(ds, plane, labels)
    _put_contrast(ds, plane, labels)
    put_times(ds, plane, shared)
    _put_order(ds, plane, shared)
    ds.RealWorldValueMappingSequence = Items([shared.stored.real_world()])
    shared.stored.put_window(ds)
    ds.PixelData = shared.stored.pixels(plane.pixels).tobytes()
    return ds


def put_times(ds: Dataset, plane: Plane, shared: SharedAttributes) -> None:
    """Set dates and times of acquisition and content as far as they are known.

    Time of the content is that of the acquisition: the time of the run would make two
    reconstructions of one scan differ.
    """
    date, time = shared.clock.began(plane)
    if time:
        ds.AcquisitionTime = time
    if date:
        ds.AcquisitionDate = date
    if content_time := time or shared.clock.start:
        ds.ContentTime = content_time
        ds.ContentDate = date or shared.clock.date


def _put_image(ds: Dataset, plane: Plane) -> None:
    ds.ImageType = image_type(plane)
    ds.InstanceNumber = plane.number
    ds.ImageComments = comments([*texts_of(plane.meta.get("ImageComment")), *warnings(plane)])
    ds.DerivationDescription = derivation(plane)


def warnings(plane: Plane) -> list[str]:
    """Return the warnings of an image, each marked as one."""
    return [f"Warning: {text}" for text in texts_of(plane.meta.get("JRSR_warnings"))]


def comments(texts: list[str]) -> str:
    """Return texts as one, of the length that DICOM allows."""
    return "; ".join(texts)[:10240]


def image_type(plane: Plane) -> list[str]:
    """Return ImageType: M, P, R or I, then JRSR, FALLBACK or, if converted, ISMRMRD.

    dcm2niix recognises the letter only if another value follows it.
    """
    if role := plane.meta.get("JRSR_map", ""):
        return ["DERIVED", "PRIMARY", "OTHER", role.upper()]
    by = "JRSR" if "JRSR_model" in plane.meta else "ISMRMRD"
    return ["DERIVED", "PRIMARY", "OTHER", plane.part[0], "FALLBACK" if plane.is_fallback else by]


def _put_plane(ds: Dataset, plane: Plane, shared: SharedAttributes) -> None:
    ds.ImagePositionPatient = [decimal(v) for v in plane.first]
    ds.ImageOrientationPatient = [decimal(v) for v in (*plane.row, *plane.column)]
    ds.PixelSpacing = [decimal(v) for v in plane.spacing]
    ds.SliceThickness = decimal(plane.thickness)
    ds.SliceLocation = decimal(plane.location)
    if shared.gap is not None:
        ds.SpacingBetweenSlices = decimal(shared.gap)


def _put_acquisition(ds: Dataset, plane: Plane, labels: Labels) -> None:
    ds.MRAcquisitionType = "2D" if plane.step is None else "3D"
    if tesla := labels.number("acquisitionSystemInformation/systemFieldStrength_T"):
        ds.MagneticFieldStrength = decimal(tesla)
    if hertz := labels.number("experimentalConditions/H1resonanceFrequency_Hz"):
        ds.ImagingFrequency = decimal(hertz / 1e6)
        ds.ImagedNucleus = "1H"
    # Rows are phase encodes, columns the readout.
    ds.InPlanePhaseEncodingDirection = "COL"
    acquired = plane.meta.get("JRSR_acquired_matrix", [])
    if len(acquired) >= 2:
        ds.AcquisitionMatrix = [0, acquired[-1], acquired[-2], 0]
    for keyword, value in sampling(plane).items():
        setattr(ds, keyword, value)
    if n := plane.meta.get("JRSR_n_averages"):
        ds.NumberOfAverages = decimal(n)
    if n := plane.meta.get("JRSR_n_phase_encodes"):
        ds.NumberOfPhaseEncodingSteps = n
    put_bandwidth(ds, plane)


def sampling(plane: Plane) -> dict[str, DSfloat]:
    """Return the percentages of sampling, if it is known, and of the phase field of view."""
    height, width = np.multiply(plane.pixels.shape, plane.spacing)
    known = {"PercentPhaseFieldOfView": decimal(100 * height / width)}
    if acceleration := plane.meta.get("JRSR_acceleration"):
        known["PercentSampling"] = decimal(100 / acceleration)
    return known


def put_bandwidth(ds: Dataset, plane: Plane) -> None:
    """Set the bandwidth of the acquired pixel, of which the image has several.

    By its definition it is the reciprocal of the sampling period, which no finer grid changes.
    """
    if hertz := plane.meta.get("JRSR_pixel_bandwidth_hz"):
        ds.PixelBandwidth = decimal(hertz)


def _put_contrast(ds: Dataset, plane: Plane, labels: Labels) -> None:
    contrast = plane.counters["contrast"]
    sequence, ds.SequenceVariant = labels.scanning_sequence()
    inversion = labels.inversion_time(contrast)
    ds.ScanningSequence = sequence if inversion is None else [sequence, "IR"]
    ds.ScanOptions = ""
    ds.RepetitionTime = _decimal(labels.parameter("TR", contrast))
    ds.EchoTime = _decimal(labels.parameter("TE", contrast))
    ds.EchoTrainLength = labels.echo_train_length()
    ds.EchoNumbers = contrast + 1
    if inversion is not None:
        ds.InversionTime = decimal(inversion)
    if diffusion := labels.diffusion(plane.counters):
        ds.DiffusionBValue = diffusion.b_value
        if diffusion.direction:
            ds.DiffusionGradientOrientation = list(diffusion.direction)
    if (angle := labels.parameter("flipAngle_deg", contrast)) is not None:
        ds.FlipAngle = decimal(angle)


def _put_order(ds: Dataset, plane: Plane, shared: SharedAttributes) -> None:
    position = shared.positions[plane.number]
    ds.AcquisitionNumber = ds.TemporalPositionIdentifier = position
    ds.NumberOfTemporalPositions = shared.n_positions
    if (trigger := shared.clock.triggered_ms(plane)) is not None:
        ds.ScanOptions = "CG"  # Cardiac gating, without which there is no trigger time.
        ds.TriggerTime = decimal(trigger)
    if shared.n_phases > 1:
        ds.CardiacNumberOfImages = shared.n_phases


def _decimal(value: float | None) -> DSfloat | None:
    return None if value is None else decimal(value)
