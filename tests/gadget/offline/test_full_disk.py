"""A limit of file sizes, as a full disk or a quota sets it: one line, exit code 1, nothing left."""

import pytest

from jrsr_core.common.atomic import SPACE_MARGIN
from tests.helpers.commands import FAST, assert_one_line, jrsr, write_small_scan
from tests.helpers.disk import largest_file
from tests.helpers.other_images import an_image, write_file

WHY = "the file is larger than the system allows"


@pytest.fixture
def scan(tmp_path):
    write_small_scan(tmp_path / "s.h5")
    return tmp_path / "s.h5"


@pytest.mark.parametrize("limit", [20_000, SPACE_MARGIN + 10_000])
def test_mrd_images_end_before_hdf5_does(scan, capfd, limit):
    with largest_file(limit):
        outcome = jrsr(capfd, "recon", scan, *FAST)
    assert_one_line(outcome, 1, f"no space left in {scan.parent}: 1.")
    assert WHY in outcome.err and list(scan.parent.iterdir()) == [scan]


@pytest.mark.parametrize("name", ["dicom", "enhanced", "nifti", "png", "report"])
def test_every_other_format_names_its_target(scan, capfd, name):
    with largest_file(2_000):
        outcome = jrsr(capfd, "recon", scan, "--format", name, *FAST)
    assert_one_line(outcome, 1, f"{scan.parent / 's_jrsr'}")
    assert WHY in outcome.err and list(scan.parent.iterdir()) == [scan]


@pytest.mark.parametrize("name", ["dicom", "nifti", "png"])
def test_converted_images_as_well(tmp_path, capfd, name):
    write_file(tmp_path / "i.h5", an_image(1, shape=(2, 64, 64)))
    with largest_file(2_000):
        outcome = jrsr(capfd, "convert", tmp_path / "i.h5", "--format", name)
    assert_one_line(outcome, 1, f"{tmp_path / 'i'}")
    assert WHY in outcome.err and [p.name for p in tmp_path.iterdir()] == ["i.h5"]
