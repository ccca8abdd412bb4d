"""`check` and `recon` agree on headers with numbers that no scanner writes, in every format."""

import re

import numpy as np
import pydicom
import pytest

from gadget.scan import memory
from tests.helpers.commands import FAST, jrsr, write_small_scan

FORMATS = "mrd,dicom,enhanced,nifti,png,report"
FOV = "<fieldOfView_mm>.*?</fieldOfView_mm>"


def heads(**values):
    """Set fields or counters of all line headers."""

    def change(xml, lines):
        for name, value in values.items():
            place = lines.heads["idx"] if name in lines.heads["idx"].dtype.names else lines.heads
            place[name] = value
        return xml, lines

    return change


def xml(pattern, text):
    """Replace all that matches in the header."""

    def change(header, lines):
        changed = re.sub(pattern, text, header, flags=re.S)
        assert changed != header
        return changed, lines

    return change


def without_samples(header, lines):
    lines.heads["number_of_samples"] = 0
    lines.data[:] = [data[:, :0] for data in lines.data]
    return header, lines


def fov(mm):
    return xml(FOV, f"<fieldOfView_mm><x>{mm}</x><y>{mm}</y><z>{mm}</z></fieldOfView_mm>")


CASES = {
    "no samples": (without_samples, 2, "48 without samples"),
    "all discarded": (heads(discard_pre=128), 2, "48 without samples"),
    "more discarded": (heads(discard_pre=100, discard_post=100), 2, "48 without samples"),
    "centre": (xml("<center>[^<]*", "<center>1e300"), 1, "center is 1e+300, expected at most"),
    "limits": (xml("<maximum>[^<]*", "<maximum>-1e300"), 1, "maximum is -1e+300"),
    "matrix": (xml("<x>[^<]*", "<x>1e300"), 1, "matrixSize/x is 1e+300"),
    "tiny field of view": (fov("1e-300"), 1, "is 1e-300 mm, expected 1e-06 to 1e+06"),
    "huge field of view": (fov("1e300"), 1, "is 1e+300 mm, expected 1e-06 to 1e+06"),
    "no position": (heads(position=np.nan), 1, "48 lines have no usable position: [nan, nan, nan]"),
    "far": (heads(position=3e38), 1, "48 lines have no usable position"),
    "no direction": (heads(phase_dir=np.nan), 1, "48 lines have no usable phase_dir"),
    "parallel": (heads(read_dir=(1, 0, 0), phase_dir=(1, 0, 0)), 1, "are not perpendicular"),
    "readout alone": (
        heads(read_dir=(0, 1, 0), phase_dir=0, slice_dir=0),
        1,
        "48 lines: read_dir is [0.0,",
    ),
    "slice alone": (heads(read_dir=0, phase_dir=0, slice_dir=(1, 0, 0)), 1, "no other direction"),
    "last repetition": (heads(repetition=65535), 0, ""),
    "last slice": (heads(slice=65535), 0, ""),
    "last contrast": (heads(contrast=65535), 0, ""),
    "last phase": (heads(phase=65535), 0, ""),
    "last set": (heads(set=65535), 0, ""),
    "no dwell time": (heads(sample_time_us=np.nan), 0, ""),
    "no table position": (heads(patient_table_position=np.nan), 0, ""),
    "last time stamp": (heads(acquisition_time_stamp=2**32 - 1), 0, ""),
}


@pytest.mark.parametrize("given", [{}, {"slice_dir": (0, 0, 1)}, {"read_dir": (1, 0, 0)}])
def test_an_assumed_orientation_is_stated(given, tmp_path, capfd):
    directions = {"read_dir": 0, "phase_dir": 0, "slice_dir": 0} | given
    write_small_scan(tmp_path / "s.h5", heads(**directions))
    words = "48 lines have no orientation: axial images are assumed"
    assert words in jrsr(capfd, "check", tmp_path / "s.h5", *FAST).out
    made = jrsr(capfd, "recon", tmp_path / "s.h5", "--format", "dicom", *FAST)
    assert made.code == 0 and words in made.err
    for file in (tmp_path / "s_jrsr_dicom").iterdir():
        ds = pydicom.dcmread(file)
        assert ds.ImageOrientationPatient == [1, 0, 0, 0, 1, 0]
        assert "no orientation" in ds.ImageComments + str(ds)


@pytest.mark.parametrize("case", CASES)
def test_what_check_says_is_what_recon_does(case, tmp_path, capfd):
    change, code, words = CASES[case]
    write_small_scan(tmp_path / "s.h5", change)
    checked = jrsr(capfd, "check", tmp_path / "s.h5", *FAST)
    made = jrsr(capfd, "recon", tmp_path / "s.h5", "--format", FORMATS, *FAST)
    assert (checked.code, made.code) == (code, code), (checked, made)
    for text in (checked.err, made.err):
        assert words in text and not re.search(r"[A-Z]\w+Error", text)
        assert len(text.splitlines()) == bool(code)


def test_an_image_beyond_the_memory_of_the_machine_is_declined(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(memory, "physical_memory", lambda: 10 * 2**20)
    write_small_scan(tmp_path / "s.h5")
    for command in ("check", "recon"):
        outcome = jrsr(capfd, command, tmp_path / "s.h5", *FAST)
        assert outcome.code == 2
        assert re.search(
            r"an image of .* coils needs about .*, this machine has 10 MiB", outcome.err
        )
    assert [p.name for p in tmp_path.iterdir()] == ["s.h5"]
