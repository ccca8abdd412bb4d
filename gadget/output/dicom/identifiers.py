"""Makes DICOM identifiers: those in the scan header, or else hashes of the content.

All are UUIDs of version 5 under 2.25 (PS3.5 B.2). Scans share a study only if everything that
distinguishes patients, sessions and devices is equal:

    study = UUID(patient, study, device, session)      frame of reference = UUID(study, measurement)

A file whose header names neither patient nor session is a session of its own, identified by the
content of its images, because two anonymous scans of one protocol have equal headers.
"""

import hashlib
import re
import uuid

from .labels import Labels

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

MEASUREMENT = re.compile(r"(\d+_\d+_\d+)_\d+")
"""``device_patient_study_measurement``, as siemens_to_ismrmrd writes it."""


def make_uid(*parts: object) -> str:
    """Return the identifier that follows from these parts."""
    return f"2.25.{uuid.uuid5(NAMESPACE, '/'.join(map(str, parts))).int}"


def digest(text: str) -> str:
    """Return the hash of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def study_and_frame(labels: Labels, content: str) -> tuple[str, str]:
    """Return the identifiers of study and frame of reference; `content` is a hash of all images."""
    named = labels.text("measurementInformation/measurementID")
    texts = tuple(labels.text(path) for path in SESSION)
    scan = named or (digest(labels.xml) if any(texts) else content)
    measurement = MEASUREMENT.fullmatch(scan)
    session = measurement[1] if measurement else scan
    study = labels.uid("studyInformation/studyInstanceUID") or make_uid("study", texts, session)
    frame = labels.uid("measurementInformation/frameOfReferenceUID")
    return study, frame or make_uid("frame", study, scan)
