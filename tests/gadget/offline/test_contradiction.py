"""Scans whose image would contradict its measurement: fallback image, exit code 3, the reason."""

import h5py
import pytest

from jrsr_core.mrd.simulator.request import ScanRequest
from jrsr_core.mrd.simulator.simulate import write_simulation
from tests.helpers.commands import NO_WEIGHTS, jrsr

CALIBRATION_BIT = 1 << 19


def write_foreign_reference(path, **options):
    """A scan whose reference lines are of coils in another order."""
    request = ScanRequest(
        calibration="external", matrix="96x80", n_coils=6, acs=20, slices=2, **options
    )
    write_simulation(request, path)
    with h5py.File(path, "r+") as file:
        rows = file["dataset/data"][()]
        for row in rows:
            if int(row["head"]["flags"]) & CALIBRATION_BIT:
                n_coils = row["head"]["active_channels"]
                row["data"] = row["data"].reshape(n_coils, -1)[::-1].ravel()
        file["dataset/data"][...] = rows


@pytest.mark.parametrize("model", [NO_WEIGHTS, ()])
def test_a_foreign_reference_gives_marked_images_and_the_reason(tmp_path, capfd, model):
    write_foreign_reference(tmp_path / "scan.h5", mask="regular", acceleration=2)
    done = jrsr(capfd, "recon", tmp_path / "scan.h5", "-o", tmp_path, *model)
    assert done.code == 3, done
    assert "contradicts the measurement: k-space residual 0." in done.err
    assert "noise explains 0.0" in done.err
    assert "2 of them fallback images" in done.out + done.err


def test_own_lines_replace_a_foreign_reference(tmp_path, capfd):
    write_foreign_reference(tmp_path / "scan.h5", mask="full", acceleration=1)
    done = jrsr(capfd, "recon", tmp_path / "scan.h5", "-o", tmp_path, *NO_WEIGHTS)
    assert done.code == 0, done
    assert "own lines calibrate it" in done.err
