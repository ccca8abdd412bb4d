"""`read_scan`: number of virtual coils, and what a closed scan answers."""

import numpy as np
import pytest

import jrsr_core as jrsr
from jrsr_core.mrd.files.images import ImageFile
from tests.helpers.commands import NO_WEIGHTS, write_small_scan
from tests.helpers.commands import jrsr as command

SIZE = ("--matrix", "96x80", "--coils", "6", "--acs", "12")


@pytest.mark.parametrize("options", [(), ("--protocol", "wall-16x", "--positions", "3")])
@pytest.mark.parametrize("n", [3, 5])
def test_virtual_coils_are_those_of_the_command(options, n, capfd, tmp_path):
    path, out = tmp_path / "scan.h5", tmp_path / "out.h5"
    assert command(capfd, "simulate", "-o", path, *SIZE, *options).code == 0
    settings = ("--set", f"n_virtual_coils={n}", "--set", "kernel_width=4")
    assert command(capfd, "recon", path, "-o", out, *NO_WEIGHTS, *settings).code == 0
    calibration = jrsr.CalibrationSettings(n_virtual_coils=n, kernel_width=4)
    model = jrsr.load_model("cg-sense+sinc", calibration=calibration)
    with jrsr.read_scan(path, n_virtual_coils=n) as scan:
        image = model(scan[0])
    assert image.report.n_virtual_coils == n
    (mrd,) = ImageFile(out)
    np.testing.assert_array_equal(image.magnitude.numpy(), mrd.data.reshape(image.image.shape))


@pytest.mark.parametrize("value", [0, -1, 2.5, "4", None, True, 2000])
def test_a_number_of_virtual_coils_is_checked(value, tmp_path):
    write_small_scan(tmp_path / "scan.h5")
    text = rf"^n_virtual_coils is {value!r}, expected a whole number from 1 to 1024$"
    with pytest.raises(ValueError, match=text):
        jrsr.read_scan(tmp_path / "scan.h5", n_virtual_coils=value)
    with pytest.raises(ValueError, match=text):
        jrsr.CalibrationSettings(n_virtual_coils=value)


def test_settings_of_the_calibration_are_numbers_in_range():
    assert jrsr.CalibrationSettings(n_virtual_coils=np.int64(4), crop=np.float32(0.5), threshold=0)
    with pytest.raises(ValueError, match=r"^crop is 1\.0, expected a number from 0\.0 to 0\.99$"):
        jrsr.CalibrationSettings(crop=1.0)
    with pytest.raises(ValueError, match=r"^threshold is nan, expected a number from 0\.0 to 0\."):
        jrsr.CalibrationSettings(threshold=float("nan"))


def test_a_closed_scan_says_that_it_is_closed(tmp_path):
    write_small_scan(tmp_path / "scan.h5", n_slices=2)
    with jrsr.read_scan(tmp_path / "scan.h5") as scan:
        assert scan[0] is not None
    for read in (lambda: scan[0], lambda: scan[:1], lambda: list(scan)):
        with pytest.raises(ValueError, match=r"^scan\.h5 is closed, read_scan opens it again$"):
            read()
    assert len(scan) == 2 and len(scan.counters) == 2
