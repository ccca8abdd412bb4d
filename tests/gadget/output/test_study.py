"""DICOM images join a study: that of a template, or of identifiers on the command line."""

import pydicom
import pytest

from tests.helpers.commands import FAST, assert_one_line, jrsr, write_small_scan

STUDY_UID = "1.2.826.0.1.3680043.8.498.1"
FRAME_UID = "1.2.826.0.1.3680043.8.498.2"
PATIENT = "<subjectInformation><patientID>own</patientID></subjectInformation>"


def with_patient(xml, lines):
    return xml.replace("<measurementInformation>", f"{PATIENT}<measurementInformation>"), lines


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    from gadget.cli import main as cli

    folder = tmp_path_factory.mktemp("study")
    write_small_scan(folder / "scan.h5", n_slices=2)
    command = ["recon", folder / "scan.h5", "-o", folder / "images.h5", *FAST]
    assert cli.run([str(word) for word in command]) == 0
    return folder / "images.h5"


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    ds = pydicom.Dataset()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = pydicom.uid.MRImageStorage
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = "1.2.3"
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = "Käfer^Änne", "P-17", "19700102"
    ds.PatientSex, ds.PatientWeight = "F", "61.5"
    ds.StudyInstanceUID, ds.FrameOfReferenceUID = STUDY_UID, FRAME_UID
    ds.StudyDate, ds.StudyTime, ds.StudyID = "20260131", "123059.5", "S9"
    ds.AccessionNumber, ds.ReferringPhysicianName = "A77", "Dr^House"
    ds.StudyDescription, ds.SeriesNumber = "Head", 3
    path = tmp_path_factory.mktemp("template") / "scanner.dcm"
    pydicom.dcmwrite(path, ds, enforce_file_format=True)
    return path


SAME = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientWeight"),
    *("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber"),
    *("ReferringPhysicianName", "StudyDescription", "FrameOfReferenceUID"),
)


@pytest.mark.parametrize("layout", ["dicom", "enhanced"])
def test_everything_of_the_template(layout, images, template, tmp_path, capfd):
    command = ("convert", images, "-o", tmp_path, "--format", layout, "--dicom-template", template)
    outcome = jrsr(capfd, *command, "--series-number", 501)
    assert outcome.code == 0 and outcome.err == ""
    wanted = pydicom.dcmread(template)
    files = sorted((tmp_path / f"images_{layout}").iterdir())
    assert len(files) == (2 if layout == "dicom" else 1)
    found = [pydicom.dcmread(path) for path in files]
    for ds in found:
        assert {name: ds.get(name) for name in SAME} == {name: wanted.get(name) for name in SAME}
        assert ds.SeriesNumber == 501
        assert ds.SOPInstanceUID != wanted.SOPInstanceUID
    assert len({ds.SeriesInstanceUID for ds in found}) == 1


def test_options_win_over_the_template(images, template, tmp_path, capfd):
    options = ("--patient-id", "Q", "--accession", "B1", "--study-uid", "1.2.99")
    command = ("convert", images, "-o", tmp_path / "a.dcm", "--dicom-template", template, *options)
    assert jrsr(capfd, *command).code == 0
    ds = pydicom.dcmread(tmp_path / "a.dcm")
    assert (ds.PatientID, ds.AccessionNumber, ds.StudyInstanceUID) == ("Q", "B1", "1.2.99")
    assert ds.PatientName == "Käfer^Änne" and ds.FrameOfReferenceUID == FRAME_UID


def test_recon_joins_as_convert_does(images, template, tmp_path, capfd):
    options = ("--dicom-template", template, "--series-number", 7)
    scan = images.with_name("scan.h5")
    made = jrsr(capfd, "recon", scan, *FAST, "-o", tmp_path / "a.dcm", *options)
    assert made.code == 0, made.err
    assert jrsr(capfd, "convert", images, "-o", tmp_path / "b.dcm", *options).code == 0
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / "b.dcm").read_bytes()


def test_further_series_keep_their_distance(images, tmp_path, capfd):
    maps = ("--set", "maps=unmeasured,taken_back", "--series-number", 20)
    scan = images.with_name("scan.h5")
    outcome = jrsr(capfd, "recon", scan, "-o", tmp_path / "a.dcm", *maps)
    assert outcome.code in (0, 3), outcome.err
    numbers = sorted(pydicom.dcmread(path).SeriesNumber for path in tmp_path.iterdir())
    assert numbers == [20, 220, 320]


def test_without_options_nothing_changes(images, template, tmp_path, capfd):
    assert jrsr(capfd, "convert", images, "-o", tmp_path / "a.dcm").code == 0
    ds = pydicom.dcmread(tmp_path / "a.dcm")
    assert ds.StudyInstanceUID.startswith("2.25.") and ds.PatientID == "" and ds.SeriesNumber == 1


def test_another_patient_is_a_warning(template, tmp_path, capfd):
    write_small_scan(tmp_path / "scan.h5", with_patient)
    command = ("recon", tmp_path / "scan.h5", *FAST, "-o", tmp_path / "a.dcm")
    outcome = jrsr(capfd, *command, "--dicom-template", template)
    assert outcome.code == 0
    assert "warning: the scan names patient 'own', the images get 'P-17'" in outcome.err
    same = jrsr(capfd, *command, "--patient-id", "own", "--overwrite")
    assert same.code == 0 and same.err == ""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--study-uid", "abc"), "--study-uid is 'abc', expected numbers joined by dots"),
        (("--study-uid", "1." * 40 + "1"), "at most 64 characters"),
        (("--accession", "x" * 17), "--accession is 'xxxxxxxxxxxxxxxxx', expected at most 16"),
        (("--patient-id", "a\\b"), "without backslash"),
        (("--patient-id", "a\nb"), "control characters"),
        (("--series-number", "0"), "--series-number is 0, expected a whole number from 1"),
        (("--dicom-template", "none.dcm"), "none.dcm: no such file"),
        (("--dicom-template", "text.dcm"), "text.dcm: not a readable DICOM file"),
        (("--patient-id", "a", "--format", "nifti"), "no format is dicom or enhanced"),
    ],
)
def test_wrong_usage(options, words, images, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.dcm").write_text("text")
    outcome = jrsr(capfd, "convert", images, "-o", tmp_path / "new", *options)
    assert_one_line(outcome, 2, words)
    assert not (tmp_path / "new").exists()


def test_a_template_without_a_study(images, tmp_path, capfd, template):
    ds = pydicom.dcmread(template)
    del ds.StudyInstanceUID
    pydicom.dcmwrite(tmp_path / "no.dcm", ds)
    outcome = jrsr(capfd, "convert", images, "--dicom-template", tmp_path / "no.dcm")
    assert_one_line(outcome, 2, "no.dcm: no StudyInstanceUID in this DICOM file")


def test_one_series_number_is_for_one_scan(tmp_path, capfd):
    for name in "ab":
        write_small_scan(tmp_path / f"{name}.h5")
    command = ("recon", tmp_path, "--format", "dicom", *FAST, "--series-number", "5")
    assert_one_line(jrsr(capfd, *command), 2, "--series-number is for one scan, there are 2")
