"""Fills in the DICOM modules that all images of a series share: patient to equipment."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pydicom.valuerep import DSfloat

from gadget.output.labels import Labels
from gadget.output.series.planes import Plane, typical
from gadget.output.series.store import PlaneStore, Series
from jrsr_core.common.version import software_version

from .identifiers import digest, make_uid, scan_number, study_and_frame
from .marks import MAX_DESCRIPTION, series_mark
from .order import temporal_positions
from .stored import StoredValues, stored_values
from .times import Clock

SERIES_PER_SCAN = 1000
"""Series numbers of the images of a scan begin at this multiple of its own series number."""

MAX_SCAN_NUMBER = 1_000_000

TEXTS = (
    ("ProtocolName", "measurementInformation/protocolName", 64),
    ("SequenceName", "measurementInformation/sequenceName", 16),
    ("InstitutionName", "acquisitionSystemInformation/institutionName", 64),
    ("StationName", "acquisitionSystemInformation/stationName", 16),
    ("ManufacturerModelName", "acquisitionSystemInformation/systemModel", 64),
    ("DeviceSerialNumber", "acquisitionSystemInformation/deviceSerialNumber", 64),
)
"""Keyword, element of the ISMRMRD header, longest text: left out if the header has no value."""

CODES = (
    ("PatientPosition", "measurementInformation/patientPosition"),
    ("BodyPartExamined", "studyInformation/bodyPartExamined"),
)
"""Keyword and element of the ISMRMRD header of code strings."""


@dataclass(frozen=True)
class SharedAttributes:
    """Attributes that all images of a series share.

    Attributes
    ----------
    study, frame_of_reference, uid
        Identifiers of the study, of the frame of reference, and of the series.
    number, description
        Number and description of the series.
    stored
        How pixel values are stored.
    gap
        Distance between slices, mm; None if it is not one number.
    clock
        When the images were acquired.
    positions
        Position in time by the number of the plane, from 1.
    n_phases
        Number of cardiac or other phases.
    """

    study: str
    frame_of_reference: str
    uid: str
    number: int
    description: str
    stored: StoredValues
    gap: float | None
    clock: Clock
    positions: dict[int, int]
    n_phases: int

    @cached_property
    def n_positions(self) -> int:
        """Number of positions in time."""
        return max(self.positions.values())


def shared_attributes(series: Series, labels: Labels, store: PlaneStore) -> SharedAttributes:
    """Return the shared attributes of a series of a complete scan."""
    meta = typical(series.planes).meta
    study, frame = study_and_frame(labels, store.digest)
    made_by = (software_version(), meta.get("JRSR_model", ""), meta.get("JRSR_weights_sha256", ""))
    uid = make_uid(study, digest(labels.xml), series.number, *made_by, series.digest)
    numbers = [plane.number for plane in series.planes]
    return SharedAttributes(
        study=study,
        frame_of_reference=frame,
        uid=uid,
        number=_series_number(series, labels),
        description=_series_description(series, labels),
        stored=stored_values(series),
        gap=slice_distance(series.planes),
        clock=Clock(labels, store.earliest),
        positions=dict(zip(numbers, temporal_positions(series.planes), strict=True)),
        n_phases=len({plane.counters["phase"] for plane in series.planes}),
    )


def _series_number(series: Series, labels: Labels) -> int:
    """Return a number that other scans of the study do not have, if the header numbers scans."""
    scan = labels.number("measurementInformation/initialSeriesNumber") or scan_number(labels)
    if not 0 < scan <= MAX_SCAN_NUMBER:
        return series.number
    return SERIES_PER_SCAN * round(scan) + series.number


def slice_distance(planes: Sequence[Plane]) -> float | None:
    """Return the distance of neighbouring parallel slices, None if it is not one number."""
    if planes[0].step is not None:
        return planes[0].step
    normal = planes[0].normal
    if any(float(plane.normal @ normal) < 1 - 1e-6 for plane in planes):
        return None
    places = np.unique(np.round([plane.location for plane in planes], 3))
    steps = np.diff(places)
    if not len(steps) or np.ptp(steps) > 0.01 * steps.max() + 2e-3:
        return None
    return float(steps.mean())


def _series_description(series: Series, labels: Labels) -> str:
    """Return the name of the scan, cut so that the mark of the images follows it in full."""
    names = ("seriesDescription", "protocolName")
    named = (labels.text(f"measurementInformation/{name}") for name in names)
    mark = series_mark(series)
    name = next(filter(None, named), "")[: max(MAX_DESCRIPTION - len(mark) - 1, 0)]
    return f"{name.strip()} {mark}".strip()


def decimal(value: float) -> DSfloat:
    """Return a number as a DICOM decimal string of at most 16 characters."""
    return DSfloat(float(value), auto_format=True)


def new_data_set(
    sop_class: UID, uid: str, shape: tuple[int, ...], shared: SharedAttributes, labels: Labels
) -> Dataset:
    """Return a data set of images ``(y, x)`` with all that their kind does not change."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, UID(uid)
    _put_patient_and_study(ds, shared, labels)
    _put_series(ds, shared, labels)
    ds.BurnedInAnnotation, ds.LossyImageCompression = "NO", "00"
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = shape
    shared.stored.put_format(ds)
    return ds


def _put_patient_and_study(ds: Dataset, shared: SharedAttributes, labels: Labels) -> None:
    """Set the modules Patient and General Study; attributes without a value stay empty."""
    ds.PatientName = labels.text("subjectInformation/patientName")
    ds.PatientID = labels.text("subjectInformation/patientID")
    ds.PatientBirthDate = labels.date("subjectInformation/patientBirthdate")
    sex = labels.code("subjectInformation/patientGender")
    ds.PatientSex = sex if sex in ("M", "F", "O") else ""
    if weight := labels.number("subjectInformation/patientWeight_kg"):
        ds.PatientWeight = decimal(weight)
    if height := labels.number("subjectInformation/patientHeight_m"):
        ds.PatientSize = decimal(height)
    ds.StudyInstanceUID = UID(shared.study)
    ds.StudyDate = labels.date("studyInformation/studyDate")
    ds.StudyTime = labels.time("studyInformation/studyTime")
    ds.StudyID = labels.text("studyInformation/studyID", 16)
    ds.AccessionNumber = labels.text("studyInformation/accessionNumber", 16)
    ds.ReferringPhysicianName = labels.text("studyInformation/referringPhysicianName")
    if description := labels.text("studyInformation/studyDescription"):
        ds.StudyDescription = description


def _put_series(ds: Dataset, shared: SharedAttributes, labels: Labels) -> None:
    """Set the modules General Series, Frame of Reference and General Equipment."""
    ds.Modality = "MR"
    ds.SeriesInstanceUID = UID(shared.uid)
    ds.SeriesNumber = shared.number
    ds.SeriesDescription = shared.description
    for keyword, path, limit in TEXTS:
        if text := labels.text(path, limit):
            setattr(ds, keyword, text)
    for keyword, path in CODES:
        if code := labels.code(path):
            setattr(ds, keyword, code)
    if coil := labels.receive_coil():
        ds.ReceiveCoilName = coil
    if "PatientPosition" not in ds:
        ds.PatientPosition = ""
    if "BodyPartExamined" not in ds:
        # Required, and empty because the side of an unknown body part is unknown.
        ds.Laterality = ""
    if date := labels.date("measurementInformation/seriesDate"):
        ds.SeriesDate = date
    if time := labels.time("measurementInformation/seriesTime"):
        ds.SeriesTime = time
    if zone := labels.zone():
        ds.TimezoneOffsetFromUTC = zone
    ds.FrameOfReferenceUID = UID(shared.frame_of_reference)
    ds.PositionReferenceIndicator = ""
    ds.Manufacturer = labels.text("acquisitionSystemInformation/systemVendor")
    ds.SoftwareVersions = f"JRSR {software_version()}"
