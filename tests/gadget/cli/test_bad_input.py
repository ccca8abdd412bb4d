"""Bad input: one clear line, the documented exit code, and no output left behind."""

import os
import re
import shutil
import sys

import h5py
import numpy as np
import pytest

from tests.helpers.commands import FAST, NO_WEIGHTS, assert_one_line, jrsr, write_small_scan
from tests.helpers.mrd_scans import copied, joined, noise_samples, select, small_scan
from tests.helpers.processes import run_process

FAILED, DECLINED = 1, 2


def heads_changed(name, value, where=5):
    def change(xml, lines):
        lines = copied(lines)
        target = lines.heads["idx"] if name in lines.heads["idx"].dtype.names else lines.heads
        target[name][where] = value
        return xml, lines

    return change


def xml_changed(old, new):
    def change(xml, lines):
        assert old in xml
        return xml.replace(old, new), lines

    return change


def one_coil_less(xml, lines):
    lines = copied(lines)
    lines.heads["active_channels"][5] = 3
    lines.data[5] = lines.data[5][:3]
    return re.sub("<receiverChannels>.*?</receiverChannels>", "", xml), lines


def not_finite(value):
    def change(xml, lines):
        lines = copied(lines)
        lines.data[9][0, 0] = value
        return xml, lines

    return change


def noise_only(xml, lines):
    return xml, select(lines, np.arange(16))


SCANS = {
    "non-Cartesian": (
        xml_changed(">cartesian<", ">spiral<"),
        DECLINED,
        ("trajectory is spiral",),
        {},
    ),
    "EPI": (xml_changed(">cartesian<", ">epi<"), DECLINED, ("echo-planar",), {}),
    "no image lines": (noise_only, DECLINED, ("no image lines",), {"noise": noise_samples()}),
    "mixed coils": (one_coil_less, DECLINED, ("mixed coil counts: 3, 4",), {}),
    "tiny matrix": (None, DECLINED, ("8 x 9 is too small for a kernel of 6",), {"shape": (8, 16)}),
    "header without sizes": (
        xml_changed("<matrixSize>", "<matrix>"),
        FAILED,
        ("header is not readable as XML",),
        {},
    ),
    "header of another kind": (
        lambda xml, lines: ("<html/>", lines),
        FAILED,
        ("header is <html>",),
        {},
    ),
    "unknown encoding": (
        heads_changed("encoding_space_ref", 3, slice(None)),
        FAILED,
        ("lines refer to encoding 3",),
        {},
    ),
    "partitions": (heads_changed("kspace_encode_step_2", 1), DECLINED, ("2 partitions",), {}),
}


@pytest.mark.parametrize("name", SCANS)
def test_scans(name, tmp_path, capfd):
    change, code, words, options = SCANS[name]
    scan = tmp_path / "bad.h5"
    write_small_scan(scan, change, **options)
    outcome = jrsr(capfd, "recon", scan, *NO_WEIGHTS, "--format", "mrd,png")
    assert_one_line(outcome, code, "bad.h5: ", *words)
    assert [p.name for p in tmp_path.iterdir()] == ["bad.h5"]


def no_hdf5(path):
    path.write_text("plain text")


def no_dataset(path):
    h5py.File(path, "w").close()


def cut_off(path):
    write_small_scan(path)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def no_header(path):
    write_small_scan(path)
    with h5py.File(path, "r+") as file:
        del file["dataset/xml"]


@pytest.mark.parametrize("command", ["recon", "check"])
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (no_hdf5, "not an HDF5 file"),
        (no_dataset, "no group 'dataset'"),
        (cut_off, "cut off"),
        (no_header, "no header"),
    ],
)
def test_broken_files(command, spoil, words, tmp_path, capfd):
    path = tmp_path / "broken.h5"
    spoil(path)
    assert_one_line(jrsr(capfd, command, path), FAILED, "broken.h5: ", words)
    assert [p.name for p in tmp_path.iterdir()] == ["broken.h5"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--model", "jrsr-cd"), ("unknown model 'jrsr-cd'", "did you mean 'jrsr-dc'?")),
        (("--set", "modle=jrsr"), ("unknown property 'modle'", "'model'")),
        (("--set", "crop=x"), ("crop is 'x'",)),
        (("--format", "mrd,dicom2"), ("unknown format 'dicom2'", "did you mean 'dicom'")),
        (("--device", "tpu"), ("device is 'tpu'",)),
        (("--frobnicate",), ("--frobnicate",)),
        (("--set", "preset=huge"), ("preset is 'huge'",)),
        (("-o", "nowhere/out.h5"), ("folder nowhere does not exist",)),
    ],
)
def test_wrong_usage(arguments, words, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_small_scan(tmp_path / "scan.h5")
    assert_one_line(jrsr(capfd, "recon", "scan.h5", *arguments), DECLINED, *words)
    assert [p.name for p in tmp_path.iterdir()] == ["scan.h5"]


def test_missing_input_and_empty_folder(tmp_path, capfd):
    assert_one_line(jrsr(capfd, "recon", tmp_path / "no.h5"), DECLINED, "no.h5: no such file")
    assert_one_line(jrsr(capfd, "recon", tmp_path), DECLINED, "no ISMRMRD scans in this folder")


def test_missing_card_and_card_without_its_weights(tmp_path, capfd):
    scan, card = tmp_path / "scan.h5", tmp_path / "card.json"
    write_small_scan(scan)
    assert_one_line(jrsr(capfd, "recon", scan, "--model", card), DECLINED, "card.json")
    card.write_text("{}")
    assert_one_line(jrsr(capfd, "recon", scan, "--model", card), FAILED, "card.json")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["card.json", "scan.h5"]


def test_existing_output_is_kept(tmp_path, capfd):
    scan, out = tmp_path / "scan.h5", tmp_path / "out.h5"
    write_small_scan(scan)
    out.write_text("precious")
    outcome = jrsr(capfd, "recon", scan, "-o", out, *FAST)
    assert_one_line(outcome, DECLINED, "out.h5 exists", "--overwrite")
    assert out.read_text() == "precious"
    assert jrsr(capfd, "recon", scan, "-o", out, *FAST, "--overwrite").code == 0
    assert h5py.is_hdf5(out)


def test_a_scan_is_never_its_own_output(tmp_path, capfd):
    scan = tmp_path / "scan.h5"
    write_small_scan(scan)
    before = scan.read_bytes()
    outcome = jrsr(capfd, "recon", scan, "-o", scan, "--overwrite", *FAST)
    assert_one_line(outcome, DECLINED, "would be replaced by its own output")
    assert scan.read_bytes() == before


def test_folder_that_is_not_writable(tmp_path, capfd, monkeypatch):
    scan, folder = tmp_path / "scan.h5", tmp_path / "locked"
    folder.mkdir()
    write_small_scan(scan)
    # The administrator may write everywhere, so the answer of the system is given here.
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and may(path, mode))
    outcome = jrsr(capfd, "recon", scan, "-o", folder, *FAST)
    assert_one_line(outcome, FAILED, "locked is not writable")
    assert not list(folder.iterdir())


def test_folder_that_takes_no_file(tmp_path, capfd):
    write_small_scan(tmp_path / "scan.h5")
    outcome = jrsr(capfd, "recon", tmp_path / "scan.h5", "-o", "/proc/out.h5", *FAST)
    assert_one_line(outcome, FAILED, "folder /proc ")


def test_a_failed_scan_takes_its_new_folder_away(tmp_path, capfd):
    (tmp_path / "bad.h5").write_text("plain text")
    assert jrsr(capfd, "recon", tmp_path / "bad.h5", "-o", tmp_path / "new").code == FAILED
    assert not (tmp_path / "new").exists()


def test_one_bad_file_does_not_stop_the_others(tmp_path, capfd):
    (tmp_path / "a.h5").write_text("plain text")
    write_small_scan(tmp_path / "b.h5")
    outcome = jrsr(capfd, "recon", tmp_path, "-o", tmp_path / "out", *FAST)
    assert outcome.code == FAILED
    assert "a.h5: not an HDF5 file" in outcome.err
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["b_jrsr.h5"]


def test_declined_scan_is_explained_by_check(tmp_path, capfd):
    write_small_scan(tmp_path / "s.h5", xml_changed(">cartesian<", ">radial<"))
    outcome = jrsr(capfd, "check", tmp_path / "s.h5")
    assert_one_line(outcome, DECLINED, "declined: trajectory is radial")


def test_one_slice_without_acs_is_a_fallback_image(tmp_path, capfd):
    def thin_out(xml, lines):
        second = np.flatnonzero(lines.heads["idx"]["slice"] == 1)
        first = np.flatnonzero(lines.heads["idx"]["slice"] == 0)
        return xml, joined(select(lines, first), select(lines, second[::2]))

    scan = tmp_path / "scan.h5"
    write_small_scan(scan, thin_out, n_slices=2)
    outcome = jrsr(capfd, "recon", scan, *FAST)
    assert outcome.code == 3
    assert "2 images" in outcome.out and "1 of them fallback" in outcome.out
    with h5py.File(tmp_path / "scan_jrsr.h5") as file:
        marks = [b"FALLBACK" in a for a in file["dataset/image_1/attributes"][:]]
    assert marks == [False, True]
    stopped = jrsr(capfd, "recon", scan, *FAST, "--set", "on_failure=stop", "--overwrite")
    assert_one_line(stopped, DECLINED, "slice 1")


def every_other_line(xml, lines):
    return xml, select(lines, np.arange(0, 48, 2))


def only_the_rim(xml, lines):
    return xml, select(lines, np.arange(0, 20))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (every_other_line, "acs is 1x64, the kernel needs at least 6x6"),
        (only_the_rim, "no line near the centre of k-space: the nearest is 5 lines away"),
    ],
)
def test_scan_without_acs_gives_fallback_images_with_the_reason(change, reason, tmp_path, capfd):
    scan = tmp_path / "scan.h5"
    write_small_scan(scan, change)
    outcome = jrsr(capfd, "recon", scan, *NO_WEIGHTS)
    assert outcome.code == 3 and f"image 1: {reason}" in outcome.err
    checked = jrsr(capfd, "check", scan, *NO_WEIGHTS)
    shown = " ".join(checked.out.split())
    assert checked.code == 0 and "1 fallback image, no ACS of 6 x 6" in shown
    stopped = jrsr(
        capfd, "recon", scan, *NO_WEIGHTS, "--set", "on_failure=stop", "-o", tmp_path / "no.h5"
    )
    assert_one_line(stopped, DECLINED, reason)
    assert not (tmp_path / "no.h5").exists()


@pytest.mark.parametrize("n_slices", [1, 2])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_one_slice_with_broken_samples_is_a_fallback_image(value, n_slices, tmp_path, capfd):
    scan = tmp_path / "scan.h5"
    write_small_scan(scan, not_finite(value), n_slices=n_slices)
    outcome = jrsr(capfd, "recon", scan, *FAST)
    assert outcome.code == 3 and "1 of them fallback" in outcome.out
    assert outcome.err == "jrsr: scan.h5: image 1: NaN or infinite samples in 1 of 48 lines\n"
    with h5py.File(tmp_path / "scan_jrsr.h5") as file:
        assert np.isfinite(file["dataset/image_1/data"][()]).all()


def test_interrupt_leaves_nothing(tmp_path, capfd, monkeypatch):
    scan = tmp_path / "scan.h5"
    write_small_scan(scan)

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("gadget.offline.recon.to_results", interrupted)
    assert_one_line(jrsr(capfd, "recon", scan, *FAST), 130, "interrupted")
    assert [p.name for p in tmp_path.iterdir()] == ["scan.h5"]


def test_as_a_process(tmp_path):
    (tmp_path / "bad.h5").write_text("plain text")
    done = run_process(
        [sys.executable, "-m", "gadget", "recon", str(tmp_path / "bad.h5")],
    )
    assert done.returncode == FAILED
    assert done.stderr == "jrsr: bad.h5: not an HDF5 file\n"


def test_simulated_scan_may_be_declined_by_its_mask(tmp_path, capfd):
    outcome = jrsr(capfd, "simulate", "-o", tmp_path / "w.h5", "--mask", "random")
    assert_one_line(outcome, DECLINED, "brain-5x", "only a 3-D scan samples like that")
    assert not list(tmp_path.iterdir())


def test_small_scan_helper_is_sound(tmp_path, capfd):
    """The bad scans above are one change away from a good one."""
    assert small_scan()[1].all()
    write_small_scan(tmp_path / "good.h5")
    assert jrsr(capfd, "recon", tmp_path / "good.h5", *FAST).code == 0


def test_full_disk_is_one_line_and_leaves_nothing(tmp_path, capfd, monkeypatch):
    scan = tmp_path / "scan.h5"
    write_small_scan(scan)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=2**20 + 1000))
    outcome = jrsr(capfd, "recon", scan, *FAST)
    assert_one_line(outcome, FAILED, "scan.h5: no space left in", "1.0 MiB free")
    assert [p.name for p in tmp_path.iterdir()] == ["scan.h5"]
