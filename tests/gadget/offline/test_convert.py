"""`jrsr convert`: the same DICOM and NIfTI from the images of a file."""

import h5py
import ismrmrd
import nibabel
import numpy as np
import pydicom
import pytest

from tests.helpers.commands import FAST, assert_one_line, jrsr, write_small_scan
from tests.helpers.other_images import an_image, values, write_file


def test_converted_later_is_exported_at_once(tmp_path, capfd):
    write_small_scan(tmp_path / "scan.h5", n_slices=2)
    (tmp_path / "later").mkdir()
    formats = ("--format", "dicom,enhanced,nifti")
    command = ("recon", tmp_path / "scan.h5", "--format", "mrd,dicom,enhanced,nifti", *FAST)
    assert jrsr(capfd, *command).code == 0
    made = jrsr(capfd, "convert", tmp_path / "scan_jrsr.h5", "-o", tmp_path / "later", *formats)
    assert made.code == 0, made.err
    assert "2 images" in made.out
    names = [p.relative_to(tmp_path / "later") for p in (tmp_path / "later").rglob("*.*")]
    assert len(names) == 4
    for name in names:
        assert (tmp_path / "later" / name).read_bytes() == (tmp_path / name).read_bytes()


@pytest.mark.parametrize("options", [(), ("--untrusted",)])
def test_fallback_images_are_counted(tmp_path, capfd, options):
    reasons = ("", "acs is 2 x 2", "acs is 2 x 2")
    images = [an_image(image_index=i, meta={"JRSR_fallback": r}) for i, r in enumerate(reasons, 1)]
    write_file(tmp_path / "i.h5", *images)
    made = jrsr(capfd, "convert", tmp_path / "i.h5", *options)
    assert made.code == 3
    assert made.out.startswith("i.h5: 3 images, 2 of them fallback images -> ")


def test_images_of_others(tmp_path, capfd):
    """Without a scan header, without our attributes, without directions, as integers."""
    image = ismrmrd.Image.from_array(np.arange(48, dtype=np.uint16).reshape(6, 8), transpose=False)
    image.field_of_view = (160, 120, 5)
    image.image_index, image.image_series_index = 1, 4
    with ismrmrd.Dataset(str(tmp_path / "out.h5"), "2026-01-01 10:00:00") as dataset:
        dataset.append_image("image_4", image)
    made = jrsr(capfd, "convert", tmp_path / "out.h5")
    assert made.code == 0
    assert made.err == "jrsr: out.h5: 1 image has no orientation: axial images are assumed\n"
    ds = pydicom.dcmread(tmp_path / "out_dicom" / "series004_00001.dcm")
    np.testing.assert_allclose(values(ds), np.arange(48).reshape(6, 8), atol=0.01)
    assert list(ds.PixelSpacing) == [20, 20] and "JRSR" not in ds.SeriesDescription
    assert ds.DerivationDescription.startswith("Converted from ISMRMRD")


def test_wrong_usage(tmp_path, capfd):
    write_small_scan(tmp_path / "scan.h5")
    (tmp_path / "text.h5").write_text("no")
    run = ("convert", tmp_path / "scan.h5")
    assert_one_line(jrsr(capfd, *run), 2, "scan.h5: raw data without images")
    assert_one_line(jrsr(capfd, "convert", tmp_path / "text.h5"), 1, "not an HDF5 file")
    assert_one_line(jrsr(capfd, "convert", tmp_path / "none.h5"), 2, "none.h5: no such file")
    assert_one_line(jrsr(capfd, *run, "--format", "report"), 2, "images cannot become 'report'")
    # A folder that was made for images goes again if there are none.
    assert_one_line(jrsr(capfd, *run, "-o", tmp_path / "new"), 2, "raw data without images")
    assert {p.name for p in tmp_path.iterdir()} == {"scan.h5", "text.h5"}


def test_untrusted_images_are_converted_alike(tmp_path, capfd):
    write_small_scan(tmp_path / "scan.h5", n_slices=2)
    assert jrsr(capfd, "recon", tmp_path / "scan.h5", *FAST).code == 0
    made = {}
    for name, options in (("plain", ()), ("sandboxed", ("--untrusted",))):
        (tmp_path / name).mkdir()
        run = ("convert", tmp_path / "scan_jrsr.h5", "-o", tmp_path / name, *options)
        assert jrsr(capfd, *run, "--format", "dicom,nifti").code == 0
        files = sorted(p for p in (tmp_path / name).rglob("*.*") if p.is_file())
        made[name] = {p.relative_to(tmp_path / name): p.read_bytes() for p in files}
    assert len(made["plain"]) == 3 and made["plain"] == made["sandboxed"]


def test_untrusted_images_that_crash_hdf5(tmp_path, capfd):
    path = tmp_path / "images.h5"
    _write_image(path, "<ismrmrdMeta/>")
    with path.open("r+b") as file:
        file.seek(path.read_bytes().find(b"GCOL") + 8)
        file.write(bytes(8))
    assert_one_line(jrsr(capfd, "convert", path, "--untrusted"), 1, "images.h5: ")
    assert {p.name for p in tmp_path.iterdir()} == {"images.h5"}


def _write_image(path, attributes):
    image = ismrmrd.Image.from_array(np.ones((6, 8), np.float32), transpose=False)
    with ismrmrd.Dataset(str(path)) as dataset:
        dataset.append_image("image_0", image)
    with h5py.File(path, "r+") as file:
        file["dataset/image_0/attributes"][0] = attributes


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ("no", "/dataset/image_0: XML that is not readable as XML"),
        ("<!DOCTYPE l []><l/>", "/dataset/image_0: XML that has a document type"),
        ("<other/>", "/dataset/image_0 are no ISMRMRD meta data"),
    ],
)
def test_attributes_of_another_kind(tmp_path, capfd, attributes, words):
    _write_image(tmp_path / "images.h5", attributes)
    made = jrsr(capfd, "convert", tmp_path / "images.h5")
    assert_one_line(made, 1, f"images.h5: the attributes of image 0 of {words}")
    assert {p.name for p in tmp_path.iterdir()} == {"images.h5"}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("field_of_view", "fov_mm"),
        ("position", "position_mm"),
        ("read_dir", "read_dir"),
        ("slice_dir", "slice_dir"),
    ],
)
def test_images_that_lie_nowhere(tmp_path, capfd, name, shown):
    path = tmp_path / "images.h5"
    _write_image(path, "")
    with h5py.File(path, "r+") as file:
        heads = file["dataset/image_0/header"][()]
        heads[name] = np.nan
        file["dataset/image_0/header"][...] = heads
    words = f"image 0: {shown} is (nan, nan, nan), expected "
    assert_one_line(jrsr(capfd, "convert", path, "--format", "nifti"), 1, words)
    assert {p.name for p in tmp_path.iterdir()} == {"images.h5"}


@pytest.mark.parametrize(
    ("given", "row", "column"),
    [
        ({"read_dir": (0, 1, 0), "slice_dir": (1, 0, 0)}, [0, 1, 0], [0, 0, 1]),
        ({"phase_dir": (0, 0, 1), "slice_dir": (1, 0, 0)}, [0, 1, 0], [0, 0, 1]),
        ({"read_dir": (0, 1, 0), "phase_dir": (0, 0, 1)}, [0, 1, 0], [0, 0, 1]),
        ({"slice_dir": (0, 0, 1)}, [1, 0, 0], [0, 1, 0]),
    ],
)
def test_a_missing_direction_follows_from_the_others(tmp_path, capfd, given, row, column):
    _write_placed(tmp_path / "images.h5", given)
    made = jrsr(capfd, "convert", tmp_path / "images.h5")
    assert made.code == 0 and ("no orientation" in made.err) == (len(given) < 2)
    (file,) = (tmp_path / "images_dicom").iterdir()
    assert pydicom.dcmread(file).ImageOrientationPatient == [*row, *column]


@pytest.mark.parametrize("given", [{"slice_dir": (1, 0, 0)}, {"read_dir": (0, 1, 0)}])
def test_a_lone_direction_that_is_not_axial_is_refused(tmp_path, capfd, given):
    _write_placed(tmp_path / "images.h5", given)
    words = "no other direction is given: an orientation needs two of read_dir, phase_dir and slice"
    assert_one_line(jrsr(capfd, "convert", tmp_path / "images.h5"), 1, words)


def _write_placed(path, directions):
    image = ismrmrd.Image.from_array(np.ones((6, 8), np.float32), transpose=False)
    image.field_of_view = (160, 120, 5)
    for name, axis in directions.items():
        setattr(image, name, axis)
    with ismrmrd.Dataset(str(path)) as dataset:
        dataset.append_image("image_0", image)


def test_images_of_one_place_and_equal_counters_are_frames(tmp_path, capfd):
    image = ismrmrd.Image.from_array(np.ones((6, 8), np.float32), transpose=False)
    image.field_of_view = (160, 120, 5)
    with ismrmrd.Dataset(str(tmp_path / "images.h5")) as dataset:
        for factor in (1, 2, 3):
            image.data[:] = factor
            dataset.append_image("image_0", image)
    assert jrsr(capfd, "convert", tmp_path / "images.h5", "--format", "nifti").code == 0
    nifti = nibabel.load(tmp_path / "images.nii.gz")
    assert nifti.shape == (8, 6, 1, 3)
    np.testing.assert_array_equal(nifti.get_fdata()[0, 0, 0], [1, 2, 3])
    np.testing.assert_allclose(abs(np.diag(nifti.affine)), [20, 20, 5, 1])
