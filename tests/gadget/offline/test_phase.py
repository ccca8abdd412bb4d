"""The option `--phase`: the phase of complex images as a further series."""

import nibabel
import numpy as np
import pytest

from gadget.output.nifti.writer import NiftiWriter
from gadget.output.options import OutputOptions
from jrsr_core.mrd.files.images import ImageFile
from tests.helpers.commands import FAST, assert_one_line, jrsr, write_small_scan
from tests.helpers.other_images import an_image, read_folder, scale, values, write_file
from tests.helpers.processes import needs, run_process, tool

COMPLEX = ("--set", "output=complex")
FORMATS = ("--format", "mrd,dicom,enhanced,nifti")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from gadget.cli import main as cli

    path = tmp_path_factory.mktemp("phase")
    write_small_scan(path / "scan.h5", n_slices=2)
    for name, option in (("plain", ()), ("phase", ("--phase",))):
        command = ["recon", path / "scan.h5", *FAST, *COMPLEX, *FORMATS, *option]
        assert cli.run([str(word) for word in [*command, "-o", path / name]]) == 0
    return path


def test_the_phase_is_a_further_series(folder):
    images = [image.data[0, 0] for image in ImageFile(folder / "phase" / "scan_jrsr.h5")]
    made = read_folder(folder / "phase" / "scan_jrsr_dicom")
    phases = [ds for ds in made if ds.ImageType[3] == "P"]
    assert [ds.SeriesNumber for ds in made] == [1, 1, 2, 2] and len(phases) == 2
    for ds, image in zip(phases, images, strict=True):
        np.testing.assert_allclose(values(ds), np.angle(image), atol=0.5001 * scale(ds))
        assert scale(ds) == pytest.approx(np.pi / 2047)
        assert ds.SeriesDescription == "jrsr_simulation JRSR cg-sense+sinc, phase"
        assert float(ds.WindowCenter) * scale(ds) == pytest.approx(0, abs=0.01)
    magnitude, phase = read_folder(folder / "phase" / "scan_jrsr_enhanced")
    assert (magnitude.ComplexImageComponent, phase.ComplexImageComponent) == ("MAGNITUDE", "PHASE")
    stored = nibabel.load(folder / "phase" / "scan_jrsr_series2.nii.gz").get_fdata()
    np.testing.assert_array_equal(stored.T, np.angle(images).astype(np.float32))


def test_magnitudes_stay_what_they_are(folder):
    """The study follows from the content of all images of a file without patient and session."""
    plain, both = (read_folder(folder / name / "scan_jrsr_dicom") for name in ("plain", "phase"))
    assert len(plain) == 2
    for one, other in zip(plain, both[:2], strict=True):
        assert one.PixelData == other.PixelData and one.SeriesDescription == other.SeriesDescription
    name = "scan_jrsr.nii.gz"
    assert (folder / "plain" / name).read_bytes() == (folder / "phase" / name).read_bytes()
    assert not (folder / "plain" / "scan_jrsr_series2.nii.gz").exists()


def test_convert_writes_the_same(folder, tmp_path, capfd):
    command = ("convert", folder / "plain" / "scan_jrsr.h5", "-o", tmp_path, "--phase")
    assert jrsr(capfd, *command, "--format", "dicom,enhanced,nifti").code == 0
    files = [path for path in tmp_path.rglob("*.*") if path.is_file()]
    assert len(files) == 4 + 2 + 2
    for path in files:
        assert (folder / "phase" / path.relative_to(tmp_path)).read_bytes() == path.read_bytes()


@needs("dcm2niix")
@pytest.mark.parametrize("layout", ["dicom", "enhanced"])
def test_dcm2niix_recognises_the_phase(folder, tmp_path, layout):
    source = folder / "phase" / f"scan_jrsr_{layout}"
    run_process([tool("dcm2niix"), "-f", "%s", "-o", tmp_path, source], check=True)
    assert sorted(path.name for path in tmp_path.glob("*.nii")) == ["1.nii", "2_ph.nii"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("recon {0}/scan.h5 --phase --format dicom", "output is 'magnitude': add --set output="),
        ("recon {0}/scan.h5 --phase --set output=complex", "no format is dicom, enhanced, nifti"),
        ("convert {0}/plain/scan_jrsr.h5 --phase --format png", "no format is dicom, enhanced"),
    ],
)
def test_wrong_usage(folder, capfd, arguments, words):
    assert_one_line(jrsr(capfd, *arguments.format(folder).split()), 2, words)


def test_a_model_of_magnitudes_gives_no_phase(folder, tmp_path, capfd):
    """Its images are real: their phase would be 0, or pi where they are negative."""
    command = ("recon", folder / "scan.h5", "--model", "jrsr@brain-5x", *COMPLEX, *FORMATS)
    made = jrsr(capfd, *command, "-o", tmp_path / "a", "--phase")
    words = "scan.h5: --phase: model jrsr@brain-5x gives magnitudes, no phase was written"
    assert made.code == 0 and f"jrsr: {words}\n" in made.err
    assert "no phase" not in jrsr(capfd, *command, "-o", tmp_path / "b").err
    written = {name: [*(tmp_path / name).rglob("*.*")] for name in "ab"}
    assert len(written["a"]) == len(written["b"]) > 4
    for file in written["b"]:
        if file.suffix in (".gz", ".dcm"):
            same = tmp_path / "a" / file.relative_to(tmp_path / "b")
            assert same.read_bytes() == file.read_bytes()
    images = tmp_path / "a" / "scan_jrsr.h5"
    converted = jrsr(capfd, "convert", images, "--phase", "-o", tmp_path / "c")
    assert_one_line(converted, 2, "all images are magnitudes, without a phase: omit --phase")


@pytest.fixture(scope="module")
def sick(tmp_path_factory):
    """Images of a scan of three slices; the second one is a root sum of squares."""
    from gadget.cli import main as cli

    path = tmp_path_factory.mktemp("sick")
    write_small_scan(path / "scan.h5", lambda xml, lines: (xml, infinite(lines, 1)), n_slices=3)
    command = ["recon", path / "scan.h5", *FAST, *COMPLEX, *FORMATS, "--phase"]
    assert cli.run([str(word) for word in command]) == 3
    return path


def infinite(lines, *slices):
    """Replace the samples of these slices by infinity."""
    for i in np.flatnonzero(np.isin(lines.heads["idx"]["slice"], slices)):
        lines.data[i] = np.full_like(lines.data[i], np.inf)
    return lines


def test_a_fallback_image_without_a_phase_keeps_its_place(sick):
    images = [image.data[0, 0] for image in ImageFile(sick / "scan_jrsr.h5")]
    assert [bool(image.imag.any()) for image in images] == [True, False, True]
    assert sorted(path.name for path in sick.glob("*.nii.gz")) == [
        "scan_jrsr.nii.gz",
        "scan_jrsr_series2.nii.gz",
    ]
    stored = nibabel.load(sick / "scan_jrsr_series2.nii.gz").get_fdata()
    expected = [np.angle(images[0]), np.zeros_like(stored[..., 1].T), np.angle(images[2])]
    np.testing.assert_array_equal(stored.T, np.array(expected).astype(np.float32))
    made = read_folder(sick / "scan_jrsr_dicom")
    assert [(ds.SeriesNumber, *ds.ImageType[3:]) for ds in made] == [
        (number, part, mark)
        for number, part in ((1, "M"), (2, "P"))
        for mark in ("JRSR", "FALLBACK", "JRSR")
    ]
    assert [ds.NumberOfFrames for ds in read_folder(sick / "scan_jrsr_enhanced")] == [3, 3]


def test_fallback_images_alone_have_no_phase(tmp_path, capfd):
    scan = tmp_path / "scan.h5"
    write_small_scan(scan, lambda xml, lines: (xml, infinite(lines, 0, 1)), n_slices=2)
    made = jrsr(capfd, "recon", scan, *FAST, *COMPLEX, "--format", "mrd,nifti", "--phase")
    words = "--phase: all images are fallback images, which are magnitudes, no phase was written"
    assert made.code == 3 and f"jrsr: scan.h5: {words}\n" in made.err
    assert [path.name for path in tmp_path.glob("*.nii.gz")] == ["scan_jrsr.nii.gz"]
    converted = jrsr(capfd, "convert", tmp_path / "scan_jrsr.h5", "--phase", "-o", tmp_path / "c")
    words = "all images are fallback images, without a phase: omit --phase"
    assert_one_line(converted, 2, f"scan_jrsr.h5: {words}")


EMPTY = np.zeros((2, 2))
POSITIVE, SIGNED, OBLIQUE = (np.array([[1, value], [2, 0]]) for value in (1, -1, 1j))
PLAIN = "<ismrmrdHeader/>"
OURS = {"JRSR_model": "jrsr"}


@pytest.mark.parametrize(
    ("several", "meta", "has_phase"),
    [
        ([EMPTY], {}, False),
        ([EMPTY, OBLIQUE], OURS, True),
        ([POSITIVE], {}, False),
        ([POSITIVE, SIGNED], {}, True),
        ([SIGNED], OURS, False),
        ([SIGNED, OBLIQUE], OURS, True),
    ],
)
def test_a_series_has_a_phase_if_one_of_its_images_has(tmp_path, several, meta, has_phase):
    """Real images of others may be signed: their phase is 0 or pi. Ours are magnitudes."""
    with NiftiWriter(tmp_path / "a.nii.gz", PLAIN, OutputOptions(with_phase=True)) as writer:
        for i, pixels in enumerate(several):
            place = {"place": 5.0 * i, "slice": i, "image_index": i + 1}
            writer.write(an_image(pixels, shape=(2, 2), kind=np.complex64, meta=meta, **place))
        assert writer.has_phase == has_phase
    phase = tmp_path / "a_series2.nii.gz"
    assert phase.exists() == has_phase
    if has_phase:
        stored = nibabel.load(phase).get_fdata()
        expected = [0 * p if meta and p is SIGNED else np.angle(p) for p in several]
        np.testing.assert_array_equal(stored.T, np.array(expected).astype(np.float32))


def test_signed_images_of_others_are_converted(tmp_path, capfd):
    source = tmp_path / "others.h5"
    write_file(source, an_image(SIGNED, shape=(2, 2), kind=np.complex64))
    assert jrsr(capfd, "convert", source, "--phase", "--format", "nifti").code == 0
    phase = nibabel.load(tmp_path / "others_series2.nii.gz").get_fdata()[..., 0].T
    np.testing.assert_allclose(phase, [[0, np.pi], [0, 0]], rtol=1e-6)


def test_a_phase_that_is_left_out_is_none(tmp_path, capfd):
    """The image with a phase has no field of view."""
    source = tmp_path / "others.h5"
    several = [
        an_image(pixels, shape=(2, 2), kind=np.complex64, image_index=i)
        for i, pixels in enumerate((POSITIVE, OBLIQUE), 1)
    ]
    several[1].field_of_view = (0, 0, 0)
    write_file(source, *several)
    command = ("convert", source, "--phase", "--format", "nifti")
    words = "others.h5: all images that can be written are magnitudes, without a phase"
    assert_one_line(jrsr(capfd, *command), 2, words)
    source.unlink()
    write_file(source, several[1])
    words = "others.h5: image 2: fov_mm is (0.0, 0.0, 0.0), expected (z, y, x) in mm, above 0"
    assert_one_line(jrsr(capfd, *command), 1, words)


def test_images_without_a_phase(folder, tmp_path, capfd):
    target = tmp_path / "images.h5"
    assert jrsr(capfd, "recon", folder / "scan.h5", "-o", target, *FAST).code == 0
    made = jrsr(capfd, "convert", target, "--phase")
    assert_one_line(made, 2, "images.h5: all images are magnitudes, without a phase: omit --phase")
    assert [path.name for path in tmp_path.iterdir()] == ["images.h5"]
