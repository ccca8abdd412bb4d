"""`--resume`: makes the files that are missing, leaves the complete ones, names both."""

import itertools
import os
import shutil
from functools import partial

import numpy as np
import pytest

from jrsr_core.weights.find import system_cards
from tests.gadget.output.test_diffusion import header, images, write_nifti
from tests.helpers.commands import FAST, NO_WEIGHTS, assert_one_line, jrsr, write_small_scan

FORMATS = {"mrd": "_jrsr.h5", "dicom": "_jrsr_dicom", "png": "_jrsr.png"}


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def remove(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Folder with two scans and all their images."""
    folder = tmp_path_factory.mktemp("done")
    for name in ("a", "b"):
        write_small_scan(folder / f"{name}.h5")
    from gadget.cli import main as cli

    code = cli.run(["recon", str(folder), "--format", ",".join(FORMATS), *FAST])
    assert code == 0
    return folder


@pytest.mark.parametrize(
    "missing", [m for n in range(4) for m in itertools.combinations(FORMATS, n)], ids="+".join
)
def test_only_what_is_missing_is_made(missing, done, tmp_path, capfd):
    folder = shutil.copytree(done, tmp_path / "scans")
    complete = names(folder)
    for name in missing:
        remove(folder / f"b{FORMATS[name]}")
    times = {p: p.stat().st_mtime_ns for p in folder.iterdir()}
    outcome = jrsr(capfd, "recon", folder, "--format", ",".join(FORMATS), *FAST, "--resume")
    assert outcome.code == 0
    assert names(folder) == complete
    assert {p: p.stat().st_mtime_ns for p in times} == times
    first, *rest = outcome.out.splitlines()
    n = 2 if not missing else 1
    assert first == f"{n} scan{'' if n == 1 else 's'} finished before, {2 - n} to do"
    kept = [name for name in FORMATS if name not in missing]
    partly = f"b.h5: {', '.join(kept)} exists, making {', '.join(missing)}"
    assert (partly in rest) == (0 < len(missing) < len(FORMATS))
    assert any("-> " in line for line in rest) == bool(missing)


def test_without_resume_nothing_is_touched(done, tmp_path, capfd):
    folder = shutil.copytree(done, tmp_path / "scans")
    remove(folder / "b_jrsr.h5")
    outcome = jrsr(capfd, "recon", folder, "--format", ",".join(FORMATS), *FAST)
    assert_one_line(outcome, 2, "exists, --overwrite replaces it")


def test_a_file_in_the_place_of_a_folder_does_not_count(done, tmp_path, capfd):
    folder = shutil.copytree(done, tmp_path / "scans")
    remove(folder / "b_jrsr_dicom")
    (folder / "b_jrsr_dicom").touch()
    outcome = jrsr(capfd, "recon", folder, "--format", "dicom", *FAST, "--resume")
    assert outcome.code == 2 and "b_jrsr_dicom" in outcome.err


@pytest.mark.parametrize("inside", [[], ["of_another_program.dcm"]])
def test_a_folder_without_images_of_jrsr_does_not_count(done, tmp_path, capfd, inside):
    folder = shutil.copytree(done, tmp_path / "scans")
    remove(folder / "b_jrsr_dicom")
    (folder / "b_jrsr_dicom").mkdir()
    for name in inside:
        (folder / "b_jrsr_dicom" / name).write_bytes(b"anything")
    outcome = jrsr(capfd, "recon", folder, "--format", "dicom", *FAST, "--resume")
    assert outcome.code == 2 and "b_jrsr_dicom exists" in outcome.err
    assert [p.name for p in (folder / "b_jrsr_dicom").iterdir()] == inside


def test_an_empty_file_does_not_count(done, tmp_path, capfd):
    folder = shutil.copytree(done, tmp_path / "scans")
    (folder / "b_jrsr.h5").write_bytes(b"")
    outcome = jrsr(capfd, "recon", folder / "b.h5", *FAST, "--resume")
    assert outcome.code == 2 and "b_jrsr.h5 exists" in outcome.err


@pytest.mark.parametrize("overwrite", [False, True])
def test_missing_weightings_stop_no_other_scan(tmp_path, capfd, overwrite):
    """They are made again only where the image may be replaced."""
    for name in ("a", "b"):
        write_small_scan(tmp_path / f"{name}.h5")
    image = tmp_path / "a_jrsr.nii.gz"
    write_nifti(image, images(), header())
    (tmp_path / "a_jrsr.bval").unlink()
    before = image.read_bytes()
    option = ["--overwrite"] * overwrite
    command = ("recon", tmp_path, "--format", "nifti", *FAST, "--resume", *option)
    outcome = jrsr(capfd, *command)
    assert outcome.code == 0 and (tmp_path / "b_jrsr.nii.gz").exists()
    words = f"jrsr: {image}: warning: a_jrsr.bval of this image is missing"
    assert outcome.err == words + ("" if overwrite else ": --overwrite makes it again") + "\n"
    assert (image.read_bytes() == before) != overwrite


def with_an_empty_slice(xml, lines, number=1):
    for i in np.flatnonzero(lines.heads["idx"]["slice"] == number):
        lines.data[i] = np.zeros_like(lines.data[i])
    return xml, lines


@pytest.mark.parametrize("name", ["mrd", "dicom", "enhanced", "nifti", "report", "png"])
def test_fallback_images_that_were_finished_before_count(name, tmp_path, capfd):
    """A picture alone has no mark."""
    if name == "nifti":
        pytest.importorskip("nibabel")
    scan = tmp_path / "a.h5"
    write_small_scan(scan, with_an_empty_slice, n_slices=3)
    command = ("recon", scan, "-o", tmp_path / "out", "--format", name, *FAST)
    assert jrsr(capfd, *command).code == 3
    outcome = jrsr(capfd, *command, "--resume")
    assert outcome.code == (0 if name == "png" else 3)
    (path,) = (tmp_path / "out").iterdir()
    words = f"jrsr: {path}: warning: fallback images are among those finished before\n"
    assert outcome.err == ("" if name == "png" else words)
    write_small_scan(scan, n_slices=3)
    assert jrsr(capfd, *command, "--overwrite").code == 0
    assert jrsr(capfd, *command, "--resume").code == 0


@pytest.mark.parametrize("name", ["further.nii.gz", "further.dcm"])
@pytest.mark.parametrize("empty", [0, 1])
def test_further_files_count_too(name, empty, tmp_path, capfd):
    """One of two stacks, each in a file of its own, holds the fallback image."""
    pytest.importorskip("nibabel")

    def two_series(xml, lines):
        xml, lines = with_an_empty_slice(xml, lines, empty)
        is_second = lines.heads["idx"]["slice"] == 1
        # Another orientation: another stack.
        for field in ("read_dir", "phase_dir", "slice_dir"):
            lines.heads[field][is_second] = np.roll(lines.heads[field][is_second], 1, axis=-1)
        return xml, lines

    write_small_scan(tmp_path / "a.h5", two_series, n_slices=2)
    command = ("recon", tmp_path / "a.h5", "-o", tmp_path / name, *FAST)
    assert jrsr(capfd, *command).code == 3
    assert len(list(tmp_path.glob("further*"))) == 2
    assert jrsr(capfd, *command, "--resume").code == 3


def test_a_finished_output_that_cannot_be_read_is_named(tmp_path, capfd):
    write_small_scan(tmp_path / "a.h5")
    (tmp_path / "a_jrsr.h5").write_bytes(b"no HDF5")
    outcome = jrsr(capfd, "recon", tmp_path / "a.h5", *FAST, "--resume")
    assert outcome.code == 0 and "a_jrsr.h5: warning: not known if it holds" in outcome.err


EVERY = ("mrd", "dicom", "enhanced", "nifti", "report", "png")
STATED = EVERY[:4]
SMALL = ("--set", "kernel_width=4")


def finished(folder, capfd, *options, change=None, n_slices=1):
    """A scan, and the command that has made its images in every format by CG-SENSE."""
    pytest.importorskip("nibabel")
    scan = folder / "a.h5"
    write_small_scan(scan, change, n_slices=n_slices)
    command = ("recon", scan, "-o", folder / "out", "--format", ",".join(EVERY), *SMALL)
    assert jrsr(capfd, *command, *(options or NO_WEIGHTS)).code == (3 if change else 0)
    return scan, command


def contents(path):
    """The bytes of the files of every output."""
    return {file: file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def warned_of(outcome):
    """The endings of the outputs that warnings name."""
    lines = outcome.err.splitlines()
    return {line.partition("a_jrsr")[2].partition(": ")[0] for line in lines if "a_jrsr" in line}


ENDS = {"_dicom", "_enhanced", ".h5", ".nii.gz", ".html", ".png"}


def test_outputs_of_another_model_are_named_and_made_again_on_demand(tmp_path, capfd):
    """Picture and report state no model: they were made together with the files beside them."""
    _, command = finished(tmp_path, capfd)
    before = contents(tmp_path / "out")
    other = (*command, "--model", "jrsr", "--resume")
    outcome = jrsr(capfd, *other)
    assert outcome.code == 0 and contents(tmp_path / "out") == before
    assert warned_of(outcome) == ENDS and len(outcome.err.splitlines()) == len(ENDS)
    (card,) = system_cards("jrsr")
    end = f"made by cg-sense+sinc, the model is jrsr (weights {card.sha256[:12]}): "
    assert outcome.err.count(f"{end}--overwrite makes it again\n") == len(ENDS)
    assert outcome.err.count("it was made") == len(STATED)
    assert jrsr(capfd, *other, "--overwrite").code == 0
    after = contents(tmp_path / "out")
    assert not any(after.get(file) == content for file, content in before.items())
    assert jrsr(capfd, *other).err == ""


@pytest.mark.parametrize("empty", [0, 1])
def test_fallback_images_are_no_images_of_another_model(empty, tmp_path, capfd):
    """They name the conventional model that made them."""
    model = ("--model", "jrsr")
    change = partial(with_an_empty_slice, number=empty)
    _, command = finished(tmp_path, capfd, *model, change=change, n_slices=2)
    outcome = jrsr(capfd, *command, *model, "--resume")
    assert outcome.code == 3 and "made by" not in outcome.err
    assert warned_of(outcome) == ENDS - {".png"}


def test_outputs_of_other_weights_are_named(tmp_path, capfd):
    _, command = finished(tmp_path, capfd, "--model", "jrsr")
    outcome = jrsr(capfd, *command, "--model", "jrsr@wall-16x", "--resume")
    assert outcome.code == 0 and warned_of(outcome) == ENDS
    old, new = (card.sha256[:12] for s in ("jrsr", "jrsr@wall-16x") for card in system_cards(s))
    words = f"made by jrsr (weights {old}), the model is jrsr (weights {new})"
    assert outcome.err.count(words) == len(ENDS)


def test_only_the_outputs_that_are_older_than_their_scan_are_made_again(tmp_path, capfd):
    scan, command = finished(tmp_path, capfd)
    command = (*command, *NO_WEIGHTS, "--resume")
    assert jrsr(capfd, *command).err == ""
    second = 1_000_000_000
    for file in contents(tmp_path / "out"):
        is_old = file.suffix in (".png", ".dcm")
        now = scan.stat().st_mtime_ns + (-second if is_old else second)
        os.utime(file, ns=(now, now))
    outcome = jrsr(capfd, *command)
    old = {"_dicom", "_enhanced", ".png"}
    assert outcome.code == 0 and warned_of(outcome) == old
    assert outcome.err.count("it is older than a.h5: --overwrite makes it again\n") == len(old)
    outcome = jrsr(capfd, *command, "--overwrite")
    assert "a.h5: mrd, nifti, report exists, making dicom, enhanced, png" in outcome.out
    assert jrsr(capfd, *command).err == ""


def test_what_is_left_of_another_model_is_named_beside_what_is_missing(tmp_path, capfd):
    """A picture alone is judged by its time."""
    _, command = finished(tmp_path, capfd)
    remove(tmp_path / "out" / "a_jrsr.h5")
    outcome = jrsr(capfd, *command, "--model", "jrsr", "--resume")
    assert outcome.code == 0 and warned_of(outcome) == ENDS - {".h5"}
    picture = ("recon", command[1], "-o", tmp_path / "out", "--format", "png", *SMALL)
    assert jrsr(capfd, *picture, "--model", "jrsr", "--resume").err == ""
