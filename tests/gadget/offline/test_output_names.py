"""The format of an output follows from the extension of its name, for recon and convert."""

import h5py
import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image

from gadget.output.dicom.writer import EnhancedWriter
from tests.helpers.commands import FAST, assert_one_line, jrsr, write_small_scan

SIGNATURES = {
    "out.h5": b"\x89HDF",
    "out.mrd": b"\x89HDF",
    "out.nii.gz": b"\x1f\x8b",
    "out.nii": b"\x5c\x01\x00\x00",
    "out.png": b"\x89PNG",
    "out.html": b"<!doctype html>",
    "OUT.DCM": b"\0" * 128 + b"DICM",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("names")
    write_small_scan(path / "scan.h5", n_slices=2)
    return path


@pytest.fixture(scope="module")
def images(folder):
    from gadget.cli import main as cli

    assert cli.run(["recon", str(folder / "scan.h5"), "-o", str(folder / "images.h5"), *FAST]) == 0
    return folder / "images.h5"


@pytest.mark.parametrize("name", SIGNATURES)
def test_recon_writes_what_the_extension_says(name, folder, tmp_path, capfd):
    outcome = jrsr(capfd, "recon", folder / "scan.h5", "-o", tmp_path / name, *FAST)
    assert outcome.code == 0, outcome.err
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes().startswith(SIGNATURES[name])


@pytest.mark.parametrize("name", ["out.nii.gz", "out.nii", "out.png", "out.dcm"])
def test_convert_writes_what_the_extension_says(name, images, tmp_path, capfd):
    outcome = jrsr(capfd, "convert", images, "-o", tmp_path / name)
    assert outcome.code == 0, outcome.err
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes().startswith(SIGNATURES.get(name, SIGNATURES["OUT.DCM"]))


def test_dcm_is_the_enhanced_file_of_the_folder(images, tmp_path, capfd):
    assert jrsr(capfd, "convert", images, "-o", tmp_path / "a.dcm").code == 0
    assert jrsr(capfd, "convert", images, "-o", tmp_path, "--format", "enhanced").code == 0
    (inside,) = (tmp_path / "images_enhanced").iterdir()
    assert (tmp_path / "a.dcm").read_bytes() == inside.read_bytes()
    assert pydicom.dcmread(tmp_path / "a.dcm").NumberOfFrames == 2


def test_further_series_go_beside_the_dcm_file(folder, tmp_path, capfd):
    maps = ("--model", "jrsr-dc", "--set", "maps=unmeasured", "--set", "preset=compact")
    outcome = jrsr(capfd, "recon", folder / "scan.h5", "-o", tmp_path / "a.dcm", *maps)
    assert outcome.code in (0, 3), outcome.err
    assert {p.name for p in tmp_path.iterdir()} == {"a.dcm", "a_series301.dcm"}
    series = {pydicom.dcmread(p).SeriesInstanceUID for p in tmp_path.iterdir()}
    assert len(series) == 2


def test_nii_and_nii_gz_hold_the_same(images, tmp_path, capfd):
    loaded = []
    for name in ("a.nii", "a.nii.gz"):
        assert jrsr(capfd, "convert", images, "-o", tmp_path / name).code == 0
        loaded.append(nibabel.load(tmp_path / name))
    np.testing.assert_array_equal(loaded[0].get_fdata(), loaded[1].get_fdata())
    np.testing.assert_array_equal(loaded[0].affine, loaded[1].affine)


def test_a_picture_of_images_shows_all_of_them(images, tmp_path, capfd):
    assert jrsr(capfd, "convert", images, "-o", tmp_path / "a.png").code == 0
    with Image.open(tmp_path / "a.png") as picture:
        shown = np.asarray(picture)
    with h5py.File(images) as file:
        data = file["dataset/image_1/data"][()]
    # Two tiles side by side, each with as much signal as its image on one scale.
    left, right = np.array_split(shown, 2, axis=1)
    ratio = left.astype(float).sum() / right.astype(float).sum()
    assert ratio == pytest.approx(data[0].sum() / data[1].sum(), rel=0.25)
    assert shown.max() > 200 and shown.shape[1] > 2 * data.shape[-1]


def test_an_existing_file_is_kept(images, tmp_path, capfd):
    for name in ("a.dcm", "a.png", "a.nii"):
        (tmp_path / name).write_text("precious")
        outcome = jrsr(capfd, "convert", images, "-o", tmp_path / name)
        assert_one_line(outcome, 2, f"{name} exists, --overwrite replaces it")
        assert (tmp_path / name).read_text() == "precious"
        assert jrsr(capfd, "convert", images, "-o", tmp_path / name, "--overwrite").code == 0


def test_a_failure_while_files_are_written_leaves_none(images, tmp_path, capfd, monkeypatch):
    def failing(self, series, shared):
        raise OSError("no more")
        yield

    monkeypatch.setattr(EnhancedWriter, "data_sets", failing)
    assert jrsr(capfd, "convert", images, "-o", tmp_path / "a.dcm").code == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["recon", "convert"])
def test_a_new_folder_is_made(command, folder, images, tmp_path, capfd):
    source = images if command == "convert" else folder / "scan.h5"
    options = ("--format", "nifti", *(FAST if command == "recon" else ()))
    outcome = jrsr(capfd, command, source, "-o", tmp_path / "new" / "inner", *options)
    assert outcome.code == 0, outcome.err
    assert len(list((tmp_path / "new" / "inner").glob("*.nii.gz"))) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-o", "-"), ("cannot be written to stdout",)),
        (("-o", "out.jpg"), ("out.jpg: unknown extension '.jpg'", ".nii.gz", ".dcm")),
        (("-o", "out.nii.gz", "--format", "dicom"), ("out.nii.gz", "nifti", "--format is dicom")),
    ],
)
@pytest.mark.parametrize("command", ["recon", "convert"])
def test_wrong_names(command, arguments, words, folder, images, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = images if command == "convert" else folder / "scan.h5"
    assert_one_line(jrsr(capfd, command, source, *arguments), 2, *words)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "command", [("simulate",), ("import", "scan.dat"), ("send", "scan.h5", "--port", "9")]
)
def test_a_command_with_one_format_refuses_the_names_of_others(command, capfd, tmp_path):
    outcome = jrsr(capfd, *command, "-o", tmp_path / "x.dcm")
    assert_one_line(outcome, 2, "x.dcm", f"{command[0]} writes mrd files", "jrsr convert")


def test_a_folder_with_a_dot_may_exist(folder, tmp_path, capfd):
    (tmp_path / "day.2").mkdir()
    outcome = jrsr(capfd, "recon", folder / "scan.h5", "-o", tmp_path / "day.2", *FAST)
    assert outcome.code == 0 and (tmp_path / "day.2" / "scan_jrsr.h5").is_file()
