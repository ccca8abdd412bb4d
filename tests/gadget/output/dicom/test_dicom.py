"""DICOM and NIfTI against the simulated scan, its MRD images, and independent checkers."""

import itertools
import shutil

import h5py
import numpy as np
import pydicom
import pydicom.data
import pytest
from scipy.spatial.transform import Rotation

from tests.gadget.offline.test_recon import images_of
from tests.helpers.commands import FAST, assert_one_line, jrsr, write_small_scan
from tests.helpers.other_images import read_folder, scale, values, window
from tests.helpers.processes import needs, run_process

nibabel = pytest.importorskip("nibabel")

OBLIQUE = ("--tilt", "20", "--turn", "35")
SMALL = ("--matrix", "96x112", "--coils", "4", "--acs", "16")
FORMATS = "mrd,dicom,enhanced,nifti"
SCANS = {
    "2-D": (*SMALL,),
    "oblique": (*SMALL, "--slices", "3", *OBLIQUE),
    "contrasts": (*SMALL, "--contrasts", "2", "--slices", "2", "--repetitions", "2"),
    "odd": ("--matrix", "94x110", "--coils", "4", "--acs", "15"),
    "3-D": (
        *("--protocol", "wall-16x", "--matrix", "64x56", "--positions", "12", *OBLIQUE),
        *("--coils", "4", "--acs", "14", "--accel", "2", "--mask", "regular"),
    ),
}


@pytest.fixture(scope="module", params=SCANS)
def exported(request, tmp_path_factory):
    """Folder with truth.h5, images.h5, images_dicom and images.nii.gz of one scan."""
    from gadget.cli import main as cli

    folder = tmp_path_factory.mktemp(f"export_{request.param}_")
    scan = str(folder / "scan.h5")
    truth = ("--truth", str(folder / "truth.h5"))
    assert cli.run(["simulate", "-o", scan, *truth, *SCANS[request.param]]) == 0
    target = str(folder / "images.h5")
    assert cli.run(["recon", scan, "-o", target, "--format", FORMATS, *FAST]) == 0
    return folder


def kind_of(folder) -> str:
    return folder.name.split("_")[1]


def voxel_of(folder) -> tuple[float, float, float]:
    """Size of a voxel of the simulated scan in mm, along z, y and x."""
    return (0.9, 0.9, 1.8) if kind_of(folder) == "3-D" else (5.0, 0.9, 0.9)


def datasets(folder):
    return [pydicom.dcmread(p) for p in sorted((folder / "images_dicom").iterdir())]


def by_number(folder):
    return {int(ds.InstanceNumber): ds for ds in datasets(folder)}


def scan_world(folder, image, x, y, z) -> np.ndarray:
    """Voxel to mm as simulated: index n//2 of the first slice, or of the volume, lies at 0."""
    is_oblique = "--tilt" in SCANS[kind_of(folder)]
    turned = Rotation.from_euler("XZ", (20, 35) if is_oblique else (0, 0), degrees=True)
    nz, ny, nx = image.data.shape[1:]
    voxel = np.array((x - nx // 2, y - ny // 2, z - nz // 2 if nz > 1 else image.slice))
    return turned.apply(voxel * voxel_of(folder)[::-1])


def dicom_world(ds, x, y) -> np.ndarray:
    """PS3.3 C.7.6.2.1.1."""
    row, column = np.array(ds.ImageOrientationPatient, float).reshape(2, 3)
    dy, dx = map(float, ds.PixelSpacing)
    return np.array(ds.ImagePositionPatient, float) + x * dx * row + y * dy * column


def test_a_marked_point_is_at_one_place_in_every_format(exported):
    images = images_of(exported / "images.h5")
    nifti = nibabel.load(exported / "images.nii.gz")
    stored = np.asarray(nifti.dataobj)
    volumes = stored if stored.ndim == 4 else stored[..., None]
    planes = by_number(exported)
    for image in images:
        nz, ny, nx = image.data.shape[1:]
        for x, y, z in ((0, 0, 0), (nx - 1, 3, nz - 1), (nx // 2, ny // 2, nz // 2)):
            place = scan_world(exported, image, x, y, z)
            ds = planes[(image.image_index - 1) * nz + z + 1]
            assert np.linalg.norm(dicom_world(ds, x, y) - place) < 0.01
            voxel = np.linalg.solve(nifti.affine, [-place[0], -place[1], place[2], 1])[:3]
            i, j, k = np.round(voxel).astype(int)
            world = (nifti.affine @ [i, j, k, 1])[:3] * (-1, -1, 1)
            assert np.linalg.norm(world - place) < 0.01
            pixel = image.data[0, z, y, x]
            assert pixel in volumes[i, j, k]
            assert abs(values(ds)[y, x] - pixel) <= 0.5001 * scale(ds)
    assert nifti.header["sform_code"] == nifti.header["qform_code"] == 1
    np.testing.assert_allclose(nifti.get_qform(), nifti.affine, atol=1e-3)


def test_every_pixel_is_there(exported):
    planes = by_number(exported)
    images = images_of(exported / "images.h5")
    assert len(planes) == sum(image.data.shape[1] for image in images)
    top = max(image.data.max() for image in images)
    (step,) = {scale(ds) for ds in planes.values()}
    assert step == pytest.approx(top / 4095, rel=1e-12)
    assert max(ds.pixel_array.max() for ds in planes.values()) == 4095, "12 bits are used"
    for ds in planes.values():
        assert (ds.BitsStored, ds.HighBit, ds.PixelRepresentation) == (12, 11, 0)
    for image in images:
        nz = image.data.shape[1]
        for z in range(nz):
            ds = planes[(image.image_index - 1) * nz + z + 1]
            np.testing.assert_allclose(values(ds), image.data[0, z], atol=0.5001 * step)


def test_attributes(exported):
    all_ = datasets(exported)
    images = images_of(exported / "images.h5")
    sizes = {"contrasts": (2, 2, 2), "oblique": (1, 3, 1)}.get(kind_of(exported), (1, 1, 1))
    found = sorted((i.contrast, i.slice, i.repetition) for i in images)
    assert found == list(itertools.product(*map(range, sizes)))
    with h5py.File(exported / "truth.h5") as truth:
        mask = truth["mask"][:]
    is_3d = kind_of(exported) == "3-D"
    # Of a 3-D scan the mask is (ky, kz), of a slice (ky, kx).
    n_lines = mask.any(axis=1).sum()
    with h5py.File(exported / "scan.h5") as scan:
        head = scan["dataset/data"]["head"][-1]
    period_us = head["number_of_samples"] * head["sample_time_us"]
    thickness, *spacing = voxel_of(exported)
    for ds in all_:
        assert (ds.Rows, ds.Columns) == images[0].data.shape[-2:]
        assert [float(v) for v in ds.PixelSpacing] == pytest.approx(spacing)
        assert float(ds.SliceThickness) == pytest.approx(thickness)
        assert float(ds.PercentSampling) == pytest.approx(100 * mask.mean())
        assert float(ds.PercentPhaseFieldOfView) == pytest.approx(
            100 * (ds.Rows * spacing[0]) / (ds.Columns * spacing[1]), rel=1e-6
        )
        assert ds.NumberOfAverages == 1 and ds.NumberOfPhaseEncodingSteps == n_lines
        assert float(ds.PixelBandwidth) == pytest.approx(1e6 / period_us, rel=1e-5)
        axes = np.array(ds.ImageOrientationPatient, float).reshape(2, 3)
        place = np.cross(*axes) @ np.array(ds.ImagePositionPatient, float)
        assert float(ds.SliceLocation) == pytest.approx(place, abs=1e-3)
        readout = ds.Columns if is_3d else ds.Columns // 2
        assert list(ds.AcquisitionMatrix) == [0, readout, ds.Rows // 2, 0]
        assert ds.InPlanePhaseEncodingDirection == "COL"
        assert float(ds.MagneticFieldStrength) == 3.0 and float(ds.RepetitionTime) == 500.0
        assert ds.ImageType[0] == "DERIVED"
        assert "cg-sense+sinc" in ds.DerivationDescription
        assert "Research use only" in ds.DerivationDescription
        assert "neural network" not in ds.DerivationDescription + ds.ImageComments
        assert ds.MRAcquisitionType == ("3D" if is_3d else "2D")
    assert len({ds.SeriesInstanceUID for ds in all_}) == 1
    assert len({ds.SOPInstanceUID for ds in all_}) == len(all_)


def test_echoes_have_their_times(exported):
    planes, images = by_number(exported), images_of(exported / "images.h5")
    n_planes = images[0].data.shape[1]
    means = {0: [], 1: []}
    for image in images:
        assert float(planes[image.image_index * n_planes].EchoTime) == 10.0 * (1 + image.contrast)
        means[image.contrast].append(image.data.mean())
    # The simulated second echo is the first one, which is below 1, to the power of 1.5.
    assert min(means[0]) > max(means[1], default=0)


@needs("dciodvfy")
def test_dicom3tools_find_no_error(exported):
    files = sorted((exported / "images_dicom").iterdir())
    for path in files:
        run = run_process(["dciodvfy", path])
        # Its exit code is 1 for warnings as well.
        assert "Error" not in run.stderr, run.stderr
        assert "MRImage" in run.stderr
    run = run_process(["dcentvfy", *files])
    assert run.returncode == 0 and not run.stdout and not run.stderr, run.stderr
    for path in (exported / "images_enhanced").iterdir():
        run = run_process(["dciodvfy", path])
        assert "Error" not in run.stderr and "EnhancedMRImage" in run.stderr, run.stderr


def test_the_enhanced_image_has_the_same_frames(exported):
    planes = by_number(exported)
    every = read_folder(exported / "images_enhanced")
    assert sum(int(ds.NumberOfFrames) for ds in every) == len(planes)
    assert len(every) == len({float(ds.EchoTime) for ds in planes.values()}), "a file per contrast"
    for ds in every:
        shared = ds.SharedFunctionalGroupsSequence[0]
        frames = ds.PerFrameFunctionalGroupsSequence
        echo = frames[0].MREchoSequence[0].EffectiveEchoTime
        alike = [c for _, c in sorted(planes.items()) if float(c.EchoTime) == echo]
        pixels = ds.pixel_array.reshape(len(frames), ds.Rows, ds.Columns)
        indices = set()
        for classic, frame, stored in zip(alike, frames, pixels, strict=True):
            np.testing.assert_array_equal(stored, classic.pixel_array)
            position = frame.PlanePositionSequence[0].ImagePositionPatient
            assert position == classic.ImagePositionPatient
            axes = frame.PlaneOrientationSequence[0].ImageOrientationPatient
            assert axes == classic.ImageOrientationPatient
            assert frame.MREchoSequence[0].EffectiveEchoTime == echo
            content = frame.FrameContentSequence[0]
            assert content.TemporalPositionIndex == classic.TemporalPositionIdentifier
            indices.add(tuple(content.DimensionIndexValues))
        assert len(indices) == len(frames)
        (measures,) = shared.PixelMeasuresSequence
        assert measures.SliceThickness == alike[0].SliceThickness
        assert measures.PixelSpacing == alike[0].PixelSpacing
        assert measures.get("SpacingBetweenSlices") == alike[0].get("SpacingBetweenSlices")
        rescale = shared.PixelValueTransformationSequence[0]
        assert (rescale.RescaleSlope, rescale.RescaleIntercept) == (1, 0)
        assert scale(ds) == scale(planes[1]) and window(ds) == window(planes[1])
        assert ds.StudyInstanceUID == planes[1].StudyInstanceUID
        assert ds.SeriesInstanceUID != planes[1].SeriesInstanceUID
        for frame in frames:
            (fov,), (averages,) = frame.MRFOVGeometrySequence, frame.MRAveragesSequence
            assert fov.InPlanePhaseEncodingDirection == "COLUMN"
            assert fov.MRAcquisitionFrequencyEncodingSteps == planes[1].AcquisitionMatrix[1]
            steps = planes[1].NumberOfPhaseEncodingSteps
            assert fov.MRAcquisitionPhaseEncodingStepsInPlane == steps
            for keyword in ("PercentSampling", "PercentPhaseFieldOfView"):
                assert fov[keyword].value == planes[1][keyword].value, keyword
            assert averages.NumberOfAverages == planes[1].NumberOfAverages
        for keyword in ("RepetitionTime", "MagneticFieldStrength", "FlipAngle", "PixelBandwidth"):
            assert ds.get(keyword) == planes[1].get(keyword), keyword


@needs("dcmdump")
def test_dcmtk_reads_the_same_pixels(exported, tmp_path):
    path = sorted((exported / "images_dicom").iterdir())[-1]
    run_process(["dcmdump", "+W", tmp_path, path], check=True)
    (raw,) = tmp_path.iterdir()
    ds = pydicom.dcmread(path)
    theirs = np.fromfile(raw, "<u2").reshape(ds.Rows, ds.Columns)
    np.testing.assert_array_equal(theirs, ds.pixel_array)
    np.testing.assert_array_equal(pydicom.pixels.pixel_array(path), theirs)


def test_a_replay_gives_the_same_files(tmp_path, capfd):
    write_small_scan(tmp_path / "scan.h5", n_slices=2)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        formats = ("--format", "dicom,nifti")
        assert jrsr(capfd, "recon", tmp_path / "scan.h5", "-o", tmp_path / name, *formats, *FAST)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.*"))
    assert len(files) == 3
    for path in files:
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes()


def test_another_model_has_identifiers_of_its_own(tmp_path, capfd):
    write_small_scan(tmp_path / "scan.h5")
    made = []
    for model in ("cg-sense+sinc", "zero-filled+sinc"):
        out = tmp_path / model
        out.mkdir()
        options = ("--model", model, "--format", "dicom", "--set", "kernel_width=4")
        assert jrsr(capfd, "recon", tmp_path / "scan.h5", "-o", out, *options).code == 0
        made.append(pydicom.dcmread(out / "scan_jrsr_dicom" / "series001_00001.dcm"))
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID"):
        assert made[0][keyword].value == made[1][keyword].value
    for keyword in ("SeriesInstanceUID", "SOPInstanceUID"):
        assert made[0][keyword].value != made[1][keyword].value


PATIENT = """
<subjectInformation><patientName>Müller^Ännchen</patientName><patientWeight_kg>61.5</patientWeight_kg>
<patientID>P\\1</patientID><patientBirthdate>1970-02-03</patientBirthdate>
<patientGender>F</patientGender></subjectInformation>
<studyInformation><studyDate>2020-01-31</studyDate><studyTime>12:30:59</studyTime>
<studyID>77</studyID><studyInstanceUID>1.2.3.4</studyInstanceUID></studyInformation>
"""


def test_what_the_header_says_is_kept(tmp_path, capfd):
    def with_patient(xml, lines):
        xml = xml.replace("<measurementInformation>", PATIENT + "<measurementInformation>")
        uid = "<frameOfReferenceUID>1.2.3.5</frameOfReferenceUID></measurementInformation>"
        xml = xml.replace("</measurementInformation>", uid)
        more = "<flipAngle_deg>15</flipAngle_deg><sequence_type>Flash</sequence_type>"
        return xml.replace("</sequenceParameters>", more + "</sequenceParameters>"), lines

    write_small_scan(tmp_path / "scan.h5", with_patient)
    assert jrsr(capfd, "recon", tmp_path / "scan.h5", "--format", "dicom", *FAST).code == 0
    ds = pydicom.dcmread(tmp_path / "scan_jrsr_dicom" / "series001_00001.dcm")
    assert (ds.PatientName, ds.PatientID) == ("Müller^Ännchen", "P/1")
    assert (ds.PatientBirthDate, ds.PatientSex, ds.PatientWeight) == ("19700203", "F", 61.5)
    assert (ds.StudyDate, ds.StudyTime, ds.StudyID) == ("20200131", "123059", "77")
    assert (ds.StudyInstanceUID, ds.FrameOfReferenceUID) == ("1.2.3.4", "1.2.3.5")
    assert (ds.ScanningSequence, ds.SequenceVariant, ds.FlipAngle) == ("GR", "SP", 15)


def test_nonsense_in_the_header_is_left_out(tmp_path, capfd):
    def with_nonsense(xml, lines):
        patient = PATIENT.replace("2020-01-31", "soon").replace("1.2.3.4", "1..x")
        patient = patient.replace(">F<", ">robot<").replace("61.5", "heavy")
        return xml.replace("<measurementInformation>", patient + "<measurementInformation>"), lines

    write_small_scan(tmp_path / "scan.h5", with_nonsense)
    assert jrsr(capfd, "recon", tmp_path / "scan.h5", "--format", "dicom", *FAST).code == 0
    ds = pydicom.dcmread(tmp_path / "scan_jrsr_dicom" / "series001_00001.dcm")
    assert ds.StudyDate == "" and ds.PatientSex == "" and "PatientWeight" not in ds
    assert ds.StudyInstanceUID.startswith("2.25.") and ds.StudyInstanceUID.is_valid


def test_existing_output_is_not_replaced_unasked(tmp_path, capfd):
    write_small_scan(tmp_path / "scan.h5")
    command = ("recon", tmp_path / "scan.h5", "--format", "dicom,nifti", *FAST)
    assert jrsr(capfd, *command).code == 0
    assert_one_line(jrsr(capfd, *command), 2, "scan_jrsr_dicom exists", "--overwrite")
    assert jrsr(capfd, *command, "--overwrite").code == 0
    (tmp_path / "scan_jrsr_dicom" / "mine.txt").write_text("keep")
    assert_one_line(jrsr(capfd, *command, "--overwrite"), 2, "mine.txt")
    assert (tmp_path / "scan_jrsr_dicom" / "mine.txt").read_text() == "keep"
    assert {p.name[0] for p in tmp_path.iterdir()} == {"s"}


@pytest.mark.parametrize("format_name", ["dicom", "enhanced"])
def test_images_of_others_are_never_deleted(format_name, tmp_path, capfd):
    write_small_scan(tmp_path / "scan.h5")
    command = ("recon", tmp_path / "scan.h5", "--format", format_name, *FAST, "--overwrite")
    assert jrsr(capfd, *command).code == 0
    folder = tmp_path / f"scan_jrsr_{format_name}"
    own = sorted(p.name for p in folder.iterdir())
    shutil.copy(pydicom.data.get_testdata_file("MR_small.dcm"), folder / "series001_99999.dcm")
    outcome = jrsr(capfd, *command)
    assert_one_line(outcome, 2, "series001_99999.dcm", "which JRSR did not write")
    assert sorted(p.name for p in folder.iterdir()) == [*own, "series001_99999.dcm"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_nothing_is_left_after_an_interrupt(error, tmp_path, capfd, monkeypatch):
    write_small_scan(tmp_path / "scan.h5", n_slices=3)
    calls = []

    def interrupted(ds, path):
        calls.append(path)
        path.write_bytes(b"half")
        if len(calls) == 2:
            raise error("now")

    monkeypatch.setattr("gadget.output.dicom.writer.save", interrupted)
    command = ("recon", tmp_path / "scan.h5", "--format", "mrd,dicom,nifti", *FAST)
    assert jrsr(capfd, *command).code == (130 if error is KeyboardInterrupt else 1)
    assert len(calls) == 2
    assert [p.name for p in tmp_path.iterdir() if "dicom" in p.name] == []


def test_nifti_without_its_library(tmp_path, capfd, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "nibabel", None)
    write_small_scan(tmp_path / "scan.h5")
    outcome = jrsr(capfd, "recon", tmp_path / "scan.h5", "--format", "nifti", *FAST)
    assert_one_line(outcome, 2, "nibabel", "pip install")
