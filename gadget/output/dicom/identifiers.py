"""Makes DICOM identifiers: those in the scan header, or else hashes of the content.

All are UUIDs of version 5 under 2.25 (PS3.5 B.2). Scans share a study only if everything that
distinguishes patients, sessions and devices is equal:

    study = UUID(patient, study, device, session)      frame of reference = UUID(study, measurement)

The session is that of a Siemens measurement ID. Without one it is empty if patient and study
identify the examination; otherwise every scan is a session of its own. A file whose header names
neither patient nor session is identified by the content of its images, because two anonymous scans
of one protocol have equal headers.
"""

import hashlib
import re
import uuid

from gadget.output.labels import Labels

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "jrsr.dicom")

SESSION = (
    "subjectInformation/patientName",
    "subjectInformation/patientID",
    "subjectInformation/patientBirthdate",
    "studyInformation/studyDate",
    "studyInformation/studyTime",
    "studyInformation/studyID",
    "studyInformation/accessionNumber",
    "acquisitionSystemInformation/deviceSerialNumber",
)

MEASUREMENT_ID = "measurementInformation/measurementID"
MEASUREMENT = re.compile(r"(\d+_\d+_\d+)_(\d+)")
"""``device_patient_study_measurement``, as siemens_to_ismrmrd writes it."""

PLACEHOLDER = re.compile(r"anon\w*|unknown|none|n/?a|test|phantom|[\WX0_]*", re.IGNORECASE)
"""Patients that are none: two examinations may have the same one."""

COUNT = re.compile(r"\d{0,2}")
"""A study ID that only counts examinations; the first one of every patient has the same."""


def make_uid(*parts: object) -> str:
    """Return the identifier that follows from these parts."""
    return f"2.25.{uuid.uuid5(NAMESPACE, '/'.join(map(str, parts))).int}"


def digest(text: str) -> str:
    """Return the hash of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def study_and_frame(labels: Labels, content: str) -> tuple[str, str]:
    """Return the identifiers of study and frame of reference; `content` is a hash of all images."""
    named = labels.text(MEASUREMENT_ID)
    texts = tuple(labels.text(path) for path in SESSION)
    scan = named or (digest(labels.xml) if any(texts) else content)
    measurement = MEASUREMENT.fullmatch(scan)
    session = measurement[1] if measurement else "" if names_examination(labels) else scan
    study = labels.uid("studyInformation/studyInstanceUID") or make_uid("study", texts, session)
    frame = labels.uid("measurementInformation/frameOfReferenceUID")
    return study, frame or make_uid("frame", study, scan)


def scan_number(labels: Labels) -> float:
    """Return the number of the scan in its session, 0 if the measurement ID has none."""
    measurement = MEASUREMENT.fullmatch(labels.text(MEASUREMENT_ID))
    return float(measurement[2]) if measurement else 0.0


def names_examination(labels: Labels) -> bool:
    """Return whether patient and study are those of one examination alone.

    This takes a patient, a date, and what distinguishes the examinations of a day: a time, an
    accession number, or a study ID. Midnight stands for a time that was removed.
    """
    patients = (labels.text(f"subjectInformation/{name}") for name in ("patientID", "patientName"))
    date = labels.date("studyInformation/studyDate")
    time = labels.time("studyInformation/studyTime")
    accession = labels.text("studyInformation/accessionNumber")
    study_id = labels.text("studyInformation/studyID")
    return (
        any(not PLACEHOLDER.fullmatch(patient) for patient in patients)
        and bool(date)
        and (
            bool(time.strip("0."))
            or not PLACEHOLDER.fullmatch(accession)
            or not COUNT.fullmatch(study_id)
        )
    )
