"""DICOM identifiers: those of the scan header where it has them, else they follow from the content.

All are UUIDs of version 5 under 2.25 (PS3.5 B.2). Scans share a study only where all that tells
patients, sessions and devices apart is equal:

    study = UUID(patient, study, device, session)      frame of reference = UUID(study, measurement)

A file whose header names neither patient nor session, or that has none, is a session of its own,
known by what is in its images: two anonymous scans of one protocol have equal headers.
"""

import hashlib
import re
import uuid

from .labels import Labels

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "jrsr.dicom")

SESSION_FACTS = (
    "subjectInformation/patientName",
    "subjectInformation/patientID",
    "subjectInformation/patientBirthdate",
    "studyInformation/studyDate",
    "studyInformation/studyTime",
    "studyInformation/studyID",
    "studyInformation/accessionNumber",
    "acquisitionSystemInformation/deviceSerialNumber",
)

MEASUREMENT = re.compile(r"(\d+_\d+_\d+)_\d+")
"""``device_patient_study_measurement``, as the converter of Siemens data writes it."""


def make_uid(*parts: object) -> str:
    """Return the identifier of these parts."""
    return f"2.25.{uuid.uuid5(NAMESPACE, '/'.join(map(str, parts))).int}"


def digest(text: str) -> str:
    """Return the hash of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def study_and_frame(labels: Labels, content: str) -> tuple[str, str]:
    """Return the identifiers of study and frame of reference; `content` is a hash of all images."""
    named = labels.text("measurementInformation/measurementID")
    facts = tuple(labels.text(path) for path in SESSION_FACTS)
    scan = named or (digest(labels.xml) if any(facts) else content)
    of_many = MEASUREMENT.fullmatch(scan)
    session = of_many[1] if of_many else scan
    study = labels.uid("studyInformation/studyInstanceUID") or make_uid("study", facts, session)
    frame = labels.uid("measurementInformation/frameOfReferenceUID")
    return study, frame or make_uid("frame", study, scan)
