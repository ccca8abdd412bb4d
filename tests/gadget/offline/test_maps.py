"""Extra series of maps: in the file, in DICOM, and from the resident server."""

import h5py
import numpy as np
import pydicom
import pytest

from jrsr_core.data import MAP_ALARM
from tests.helpers.commands import FAST, assert_one_line, jrsr, write_small_scan
from tests.helpers.peer import resident
from tests.helpers.processes import needs, run_process

from .test_recon import images_of

MAPS = ("--set", "maps=hallucination,unmeasured")


def test_maps_are_series_of_their_own(tmp_path, capfd):
    write_small_scan(tmp_path / "scan.h5", n_slices=2, acceleration=2)
    outcome = jrsr(capfd, "recon", tmp_path / "scan.h5", *FAST, *MAPS, "--format", "mrd,png,nifti")
    assert outcome.code == 0 and "2 images and 4 maps 96 x 128" in outcome.out
    assert (tmp_path / "scan_jrsr_series101.nii.gz").exists()
    with h5py.File(tmp_path / "scan_jrsr.h5") as file:
        assert {"image_1", "image_101", "image_301"} == {k for k in file["dataset"] if "im" in k}
    images = images_of(tmp_path / "scan_jrsr.h5")
    suspect = images_of(tmp_path / "scan_jrsr.h5", 101)
    unmeasured = images_of(tmp_path / "scan_jrsr.h5", 301)
    for image, first, second in zip(images, suspect, unmeasured, strict=True):
        assert image.data.shape == first.data.shape and first.data.any()
        assert (first.image_index, first.slice) == (image.image_index, image.slice)
        assert list(first.position) == list(image.position)
        meta = first.meta
        assert meta["JRSR_map"] == "hallucination" and meta["DataRole"] == "Map"
        assert "MAP, not an image" in meta["ImageComments"]
        width = float(image.meta["WindowWidth"])
        assert float(meta["WindowWidth"]) == MAP_ALARM
        assert float(meta["WindowCenter"]) == MAP_ALARM / 2
        assert float(second.meta["WindowWidth"]) == pytest.approx(0.2 * width)
        size = np.linalg.norm(second.data) / np.linalg.norm(image.data)
        assert float(image.meta["JRSR_unmeasured"]) == pytest.approx(size, rel=1e-3)


def test_the_image_is_the_same_with_and_without_maps(tmp_path, capfd):
    write_small_scan(tmp_path / "scan.h5", acceleration=2)
    for name, options in (("with.h5", MAPS), ("without.h5", ())):
        target = ("-o", tmp_path / name)
        assert jrsr(capfd, "recon", tmp_path / "scan.h5", *target, *FAST, *options).code == 0
    with_maps, without = (images_of(tmp_path / f"{n}.h5")[0].data for n in ("with", "without"))
    np.testing.assert_array_equal(with_maps, without)


def test_fallback_images_have_none(tmp_path, capfd):
    write_small_scan(tmp_path / "scan.h5", acceleration=4, n_acs=2)
    assert jrsr(capfd, "recon", tmp_path / "scan.h5", *FAST, *MAPS).code == 3
    with h5py.File(tmp_path / "scan_jrsr.h5") as file:
        assert [k for k in file["dataset"] if "image" in k] == ["image_1"]


def test_a_volume_has_maps(tmp_path, capfd):
    options = ("--protocol", "wall-16x", "--matrix", "64x56", "--positions", "6", "--coils", "4")
    options += ("--acs", "14", "--accel", "2", "--mask", "regular")
    assert jrsr(capfd, "simulate", "-o", tmp_path / "v.h5", *options).code == 0
    assert jrsr(capfd, "recon", tmp_path / "v.h5", *FAST, *MAPS).code == 0
    (image,) = images_of(tmp_path / "v_jrsr.h5")
    (map_,) = images_of(tmp_path / "v_jrsr.h5", 101)
    assert map_.data.shape == image.data.shape and map_.data.any()
    assert float(image.meta["JRSR_seconds_total"]) < 100


@needs("dcentvfy")
def test_extra_series_in_dicom(tmp_path, capfd):
    write_small_scan(tmp_path / "scan.h5", n_slices=2, acceleration=2)
    command = ("recon", tmp_path / "scan.h5", *FAST, *MAPS, "--format", "dicom")
    assert jrsr(capfd, *command).code == 0
    files = sorted((tmp_path / "scan_jrsr_dicom").iterdir())
    every = [pydicom.dcmread(path) for path in files]
    assert {int(ds.SeriesNumber) for ds in every} == {1, 101, 301} and len(every) == 6
    assert len({ds.SeriesInstanceUID for ds in every}) == 3
    assert len({ds.StudyInstanceUID for ds in every}) == 1
    assert len({ds.FrameOfReferenceUID for ds in every}) == 1
    assert every[2].ImageType[-1] == "HALLUCINATION"
    for path in files:
        found = run_process(["dciodvfy", path]).stderr
        assert "Error" not in found, found
    checked = run_process(["dcentvfy", *files])
    assert not checked.stdout and not checked.stderr


def test_the_server_sends_them_too(tmp_path, capfd):
    write_small_scan(tmp_path / "scan.h5", acceleration=2)
    with resident() as server:
        port = ("--port", server.port)
        sent = jrsr(capfd, "send", tmp_path / "scan.h5", "-o", tmp_path / "live.h5", *port, *MAPS)
    assert sent.code == 0, sent.err
    assert jrsr(capfd, "recon", tmp_path / "scan.h5", *FAST, *MAPS).code == 0
    for series in (1, 101, 301):
        (live,) = images_of(tmp_path / "live.h5", series)
        (offline,) = images_of(tmp_path / "scan_jrsr.h5", series)
        np.testing.assert_array_equal(live.data, offline.data)


def test_maps_that_do_not_exist(tmp_path, capfd):
    write_small_scan(tmp_path / "scan.h5")
    command = ("recon", tmp_path / "scan.h5", *FAST)
    wrong = jrsr(capfd, *command, "--set", "maps=halucination")
    assert_one_line(wrong, 2, "maps is 'halucination'", "'hallucination'")
    wrong = jrsr(capfd, *command, *MAPS, "--set", "series_index=65500")
    assert_one_line(wrong, 2, "series_index is 65500")
