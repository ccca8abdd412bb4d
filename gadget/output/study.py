"""The study that DICOM images join: that of another image, or of given identifiers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from gadget.console import print_warning
from gadget.errors import UsageError

from .labels import MAX_UID, UID, Labels

PATIENT_ID = "subjectInformation/patientID"
ACCESSION = "studyInformation/accessionNumber"
STUDY_UID = "studyInformation/studyInstanceUID"

TAKEN_OVER = {
    "PatientName": "subjectInformation/patientName",
    "PatientID": PATIENT_ID,
    "PatientBirthDate": "subjectInformation/patientBirthdate",
    "PatientSex": "subjectInformation/patientGender",
    "PatientWeight": "subjectInformation/patientWeight_kg",
    "PatientSize": "subjectInformation/patientHeight_m",
    "StudyInstanceUID": STUDY_UID,
    "StudyDate": "studyInformation/studyDate",
    "StudyTime": "studyInformation/studyTime",
    "StudyID": "studyInformation/studyID",
    "AccessionNumber": ACCESSION,
    "ReferringPhysicianName": "studyInformation/referringPhysicianName",
    "StudyDescription": "studyInformation/studyDescription",
    "FrameOfReferenceUID": "measurementInformation/frameOfReferenceUID",
}
"""DICOM keyword of a template -> element of the ISMRMRD header that it replaces."""

MAX_SERIES_NUMBER = 2**31 - 1
"""Largest value of a DICOM integer string."""


@dataclass(frozen=True)
class Study:
    """What replaces the labels of the scan header.

    Attributes
    ----------
    labels
        Element of the ISMRMRD header -> text.
    series_number
        Number of the first series; further series of the scan keep their distance. None for the
        numbers that the header gives.
    template
        DICOM file that the labels were read from.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    series_number: int | None = None
    template: Path | None = None

    def __bool__(self) -> bool:
        return bool(self.labels) or self.series_number is not None

    def warn_of_another_patient(self, labels: Labels, name: str) -> None:
        """Print a warning if the scan names another patient than the study."""
        wanted, own = self.labels.get(PATIENT_ID, ""), labels.text(PATIENT_ID)
        if wanted and own and wanted != own:
            print_warning(
                f"{name}: warning: the scan names patient {own!r}, the images get {wanted!r}"
            )


def read_study(
    template: Path | None = None,
    *,
    patient_id: str = "",
    accession: str = "",
    study_uid: str = "",
    series_number: int | None = None,
) -> Study:
    """Return the study of a DICOM file, with the values that are given in place of its own.

    Raises
    ------
    UsageError
        The template is no DICOM file or has no study; a value that DICOM does not allow.
    FileNotFoundError
        No such template.
    """
    labels = {} if template is None else _labels_of(template)
    for option, path, text, limit in (
        ("patient-id", PATIENT_ID, patient_id, 64),
        ("accession", ACCESSION, accession, 16),
        ("study-uid", STUDY_UID, study_uid, MAX_UID),
    ):
        if text:
            _check_text(option, text, limit)
            labels[path] = text
    if study_uid and not UID.fullmatch(study_uid):
        raise UsageError(f"--study-uid is {study_uid!r}, expected numbers joined by dots")
    if series_number is not None and not 1 <= series_number <= MAX_SERIES_NUMBER:
        raise UsageError(
            f"--series-number is {series_number}, expected a whole number from 1 to "
            f"{MAX_SERIES_NUMBER}"
        )
    return Study(labels, series_number, template)


def _check_text(option: str, text: str, limit: int) -> None:
    if len(text) > limit or "\\" in text or not text.isprintable() or text != text.strip():
        raise UsageError(
            f"--{option} is {text[:80]!r}, expected at most {limit} characters without backslash, "
            "control characters and spaces around"
        )


def _labels_of(path: Path) -> dict[str, str]:
    """Return the labels of patient, study and frame of reference of a DICOM file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        ds = dcmread(path, stop_before_pixels=True)
        found = {header: str(ds.get(keyword, "") or "") for keyword, header in TAKEN_OVER.items()}
    except (InvalidDicomError, OSError, ValueError, TypeError, AttributeError) as error:
        raise UsageError(f"{path}: not a readable DICOM file ({error})") from None
    if not found[STUDY_UID]:
        raise UsageError(f"{path}: no StudyInstanceUID in this DICOM file")
    return {header: text for header, text in found.items() if text}
