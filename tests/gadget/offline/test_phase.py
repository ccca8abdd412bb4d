"""The option `--phase`: the phase of complex images as a further series."""

import nibabel
import numpy as np
import pytest

from gadget.output.planes import planes_of
from jrsr_core.mrd.files.images import ImageFile
from tests.helpers.commands import FAST, assert_one_line, jrsr, write_small_scan
from tests.helpers.other_images import an_image, read_folder, scale, values
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


@pytest.mark.parametrize(
    ("pixels", "n_planes"),
    [
        (np.zeros((2, 2), np.complex64), 2),
        (np.array([[1, -1], [2, 0]], np.complex64), 1),
        (np.array([[1, 1j], [2, 0]], np.complex64), 2),
        (np.array([[1, -1], [2, 0]], np.float32), 1),
    ],
)
def test_an_empty_image_keeps_its_place_among_those_that_have_a_phase(pixels, n_planes):
    image = an_image(pixels, shape=pixels.shape, kind=pixels.dtype)
    assert len(list(planes_of(image, with_phase=True))) == n_planes


def test_images_without_a_phase(folder, tmp_path, capfd):
    target = tmp_path / "images.h5"
    assert jrsr(capfd, "recon", folder / "scan.h5", "-o", target, *FAST).code == 0
    made = jrsr(capfd, "convert", target, "--phase")
    assert_one_line(made, 2, "images.h5: all images are magnitudes, without a phase: omit --phase")
    assert [path.name for path in tmp_path.iterdir()] == ["images.h5"]
