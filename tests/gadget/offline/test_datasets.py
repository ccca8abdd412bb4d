"""Files with several groups of acquisitions: listed, chosen, and the noise of one for the other."""

import h5py
import numpy as np
import pytest

from jrsr_core.mrd.files.scan import ScanFile, write_scan
from jrsr_core.mrd.lines.acquired import NOISE, has_flag
from tests.helpers.commands import NO_WEIGHTS, jrsr
from tests.helpers.mrd_scans import noise_samples, select, small_scan


@pytest.fixture
def path(tmp_path):
    """`dataset_1` holds a noise scan, `dataset_2` the images; beside it the scan in one group."""
    _, _, xml, lines = small_scan(noise=noise_samples())
    is_noise = has_flag(lines.heads, NOISE)
    write_scan(tmp_path / "whole.h5", xml, lines)
    parts = {"dataset_1": np.flatnonzero(is_noise), "dataset_2": np.flatnonzero(~is_noise)}
    with h5py.File(tmp_path / "scan.h5", "w") as target:
        for name, indices in parts.items():
            write_scan(tmp_path / "part.h5", xml, select(lines, indices))
            with h5py.File(tmp_path / "part.h5") as part:
                part.copy("dataset", target, name)
    return tmp_path / "scan.h5"


def pixels(path):
    with h5py.File(path) as file:
        return file["dataset/image_1/data"][()]


@pytest.mark.parametrize("untrusted", [(), ("--untrusted",)])
def test_a_group_is_chosen_and_whitened_by_the_noise_of_the_other(path, capfd, untrusted):
    args = (*NO_WEIGHTS, *untrusted)
    failed = jrsr(capfd, "recon", path, *args)
    words = "several groups with acquisitions, choose one with --dataset: dataset_1, dataset_2"
    assert failed.code == 1 and words in failed.err
    checked = jrsr(capfd, "check", path, "--dataset", "dataset_2", *args)
    assert checked.code == 0 and "from the noise lines of dataset_1" in checked.out
    assert "dataset_2; others in the file (--dataset): dataset_1" in checked.out
    out, whole = path.parent / "out.h5", path.parent / "out_whole.h5"
    assert jrsr(capfd, "recon", path, "--dataset", "dataset_2", "-o", out, *args).code == 0
    assert jrsr(capfd, "recon", path.parent / "whole.h5", "-o", whole, *args).code == 0
    assert np.array_equal(pixels(out), pixels(whole))


@pytest.mark.parametrize("setting", ["prewhiten=false", "noise_file={whole}"])
def test_the_other_group_is_not_read_where_its_noise_is_not_wanted(path, capfd, setting):
    """A broken noise scan does not stop a scan that does not need it."""
    whole, out = path.parent / "whole.h5", path.parent / "out.h5"
    with h5py.File(path, "r+") as file:
        del file["dataset_1/xml"]
    option = ("--set", setting.format(whole=whole))
    arguments = (path, "--dataset", "dataset_2", "-o", out, *NO_WEIGHTS)
    assert jrsr(capfd, "recon", *arguments).code == 1
    done = jrsr(capfd, "recon", *arguments, *option)
    assert done.code == 0, done


def test_a_group_that_is_not_there_is_named_with_those_that_are(path, capfd):
    outcome = jrsr(capfd, "check", path, "--dataset", "dataset_3", *NO_WEIGHTS)
    assert outcome.code == 1
    assert "no group 'dataset_3' in the file, found: dataset_1, dataset_2" in outcome.err
    with ScanFile(path, dataset="dataset_1") as scan:
        assert scan.datasets == ("dataset_1", "dataset_2") and has_flag(scan.heads, NOISE).all()


def further_group(path, name, *, lines=slice(None)):
    """Copy lines of the only group to a further one."""
    with h5py.File(path, "r+") as file:
        group = file.create_group(name)
        group["xml"] = file["dataset/xml"][()]
        group["data"] = file["dataset/data"][lines]


def test_a_further_scan_in_the_file_is_named(path, capfd):
    whole, out = path.parent / "whole.h5", path.parent / "out.h5"
    further_group(whole, "noise", lines=slice(0, 2))
    assert "further" not in jrsr(capfd, "recon", whole, "-o", out, *NO_WEIGHTS).err
    further_group(whole, "second")
    further_group(whole, "broken")
    with h5py.File(whole, "r+") as file:
        del file["broken/xml"]
    done = jrsr(capfd, "recon", whole, "-o", out, "--overwrite", *NO_WEIGHTS)
    note = "whole.h5: warning: group dataset is read, further scans (--dataset): second"
    assert done.code == 0 and note in done.err
    assert note in jrsr(capfd, "recon", whole, "--dry-run", *NO_WEIGHTS).err
    chosen = ("--dataset", "second", "--overwrite")
    assert "further" not in jrsr(capfd, "recon", whole, "-o", out, *chosen, *NO_WEIGHTS).err


def test_images_of_a_further_group_have_a_name_of_their_own(path, capfd):
    """Otherwise they would count as finished, and not be made."""
    whole = path.parent / "whole.h5"
    further_group(whole, "second")
    for options in ((), ("--dataset", "second", "--resume"), ("--dataset", "dataset", "--resume")):
        assert jrsr(capfd, "recon", whole, *options, *NO_WEIGHTS).code == 0
    made = sorted(p.name for p in path.parent.glob("whole*_jrsr.h5"))
    assert made == ["whole_jrsr.h5", "whole_second_jrsr.h5"]
