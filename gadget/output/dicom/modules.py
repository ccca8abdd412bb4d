"""Patient, study, series and equipment: the modules that all images of a series share."""

from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pydicom.valuerep import DSfloat

from jrsr_core.mrd.images import software_version

from .labels import Labels

_OPTIONAL = {
    "ProtocolName": "measurementInformation/protocolName",
    "InstitutionName": "acquisitionSystemInformation/institutionName",
    "ManufacturerModelName": "acquisitionSystemInformation/systemModel",
    "DeviceSerialNumber": "acquisitionSystemInformation/deviceSerialNumber",
}


@dataclass(frozen=True)
class SeriesFacts:
    """What all images of a series share.

    `slope` is the rescale, of values stored with a sign where `is_signed`; `window` is centre and
    width; `gap` is the slice distance in mm.
    """

    study: str
    frame_of_reference: str
    uid: str
    number: int
    description: str
    slope: float
    is_signed: bool
    window: tuple[float, float]
    gap: float | None


def decimal(value: float) -> DSfloat:
    """Return a number in the 16 characters of a DICOM decimal string."""
    return DSfloat(float(value), auto_format=True)


def put_patient_and_study(ds: Dataset, facts: SeriesFacts, labels: Labels) -> None:
    """Patient and General Study modules; empty where the header is silent."""
    ds.PatientName = labels.text("subjectInformation/patientName")
    ds.PatientID = labels.text("subjectInformation/patientID")
    ds.PatientBirthDate = labels.date("subjectInformation/patientBirthdate")
    sex = labels.code("subjectInformation/patientGender")
    ds.PatientSex = sex if sex in ("M", "F", "O") else ""
    weight = labels.number("subjectInformation/patientWeight_kg")
    if weight:
        ds.PatientWeight = decimal(weight)
    ds.StudyInstanceUID = UID(facts.study)
    ds.StudyDate = labels.date("studyInformation/studyDate")
    ds.StudyTime = labels.time("studyInformation/studyTime")
    ds.StudyID = labels.text("studyInformation/studyID", 16)
    ds.AccessionNumber = labels.text("studyInformation/accessionNumber", 16)
    ds.ReferringPhysicianName = labels.text("studyInformation/referringPhysicianName")
    if description := labels.text("studyInformation/studyDescription"):
        ds.StudyDescription = description


def put_series(ds: Dataset, facts: SeriesFacts, labels: Labels) -> None:
    """Modules General Series, Frame of Reference and General Equipment."""
    ds.Modality = "MR"
    ds.SeriesInstanceUID = UID(facts.uid)
    ds.SeriesNumber = facts.number
    ds.SeriesDescription = facts.description
    for keyword, path in (
        ("ProtocolName", "measurementInformation/protocolName"),
        ("PatientPosition", "measurementInformation/patientPosition"),
        ("BodyPartExamined", "studyInformation/bodyPartExamined"),
        ("InstitutionName", "acquisitionSystemInformation/institutionName"),
        ("ManufacturerModelName", "acquisitionSystemInformation/systemModel"),
        ("DeviceSerialNumber", "acquisitionSystemInformation/deviceSerialNumber"),
    ):
        if text := labels.text(
            path, 16 if keyword in ("PatientPosition", "BodyPartExamined") else 64
        ):
            setattr(ds, keyword, text)
    if "PatientPosition" not in ds:
        ds.PatientPosition = ""
    if "BodyPartExamined" not in ds:
        # Which side is unknown where the body part is.
        ds.Laterality = ""
    if date := labels.date("measurementInformation/seriesDate"):
        ds.SeriesDate = date
    if time := labels.time("measurementInformation/seriesTime"):
        ds.SeriesTime = time
    ds.FrameOfReferenceUID = UID(facts.frame_of_reference)
    ds.PositionReferenceIndicator = ""
    ds.Manufacturer = labels.text("acquisitionSystemInformation/systemVendor")
    ds.SoftwareVersions = f"JRSR {software_version()}"


# FOLDED gadget/export/sequence_kind.py: ISMRMRD's free text `sequence_type` -> DICOM's ScanningSequence and SequenceVariant.
# The first that occurs in the text decides; what is not known is called research mode.
_KINDS = (
    (("epi", "echo planar", "echoplanar"), ("EP", "NONE")),
    (("trufi", "bssfp", "ssfp", "fiesta", "balanced"), ("GR", "SS")),
    (("mprage", "flash", "spgr", "spoil"), ("GR", "SP")),
    (("gre", "gradient", "ffe", "fisp"), ("GR", "NONE")),
    (("tse", "fse", "haste", "rare", "turbo spin", "turbospin", "fast spin"), ("SE", "SK")),
    (("se", "spin"), ("SE", "NONE")),
)
UNKNOWN = ("RM", "NONE")


def scanning_sequence(text: str) -> tuple[str, str]:
    """Return the pair for a sequence type such as ``Flash`` or ``TurboSpinEcho``."""
    text = text.lower()
    for words, kind in _KINDS:
        if any(word in text for word in words):
            return kind
    return UNKNOWN
