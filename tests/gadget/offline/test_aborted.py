"""A scan that was aborted between two slices: every route states what is missing."""

import json

import h5py
import numpy as np
import pydicom

from tests.helpers.commands import FAST, jrsr, write_small_scan
from tests.helpers.mrd_scans import joined, select

NOTE = "repetition 2 is incomplete: 1 of 3 slices or slabs were measured"


def aborted(xml, lines):
    """Three repetitions of three slices; the last one ends after its first slice."""
    parts = [select(lines, np.arange(len(lines.heads))) for _ in range(3)]
    for number, part in enumerate(parts):
        part.heads["idx"]["repetition"] = number
    parts[-1] = select(parts[-1], np.flatnonzero(parts[-1].heads["idx"]["slice"] == 0))
    return xml, joined(*parts)


def test_every_route_states_the_slices_that_are_missing(tmp_path, capfd):
    scan = tmp_path / "s.h5"
    write_small_scan(scan, aborted, n_slices=3)
    outcome = jrsr(capfd, "recon", scan, "--format", "mrd,dicom,report", *FAST)
    line = f"jrsr: s.h5: warning: 1 of 7 images: {NOTE}\n"
    assert (outcome.code, outcome.err) == (0, line)
    with h5py.File(tmp_path / "s_jrsr.h5") as file:
        texts = [str(text) for text in file["dataset/image_1/attributes"][()]]
    assert [NOTE in text for text in texts] == 6 * [False] + [True]
    assert NOTE in (tmp_path / "s_jrsr.html").read_text()
    headers = [pydicom.dcmread(path) for path in (tmp_path / "s_jrsr_dicom").iterdir()]
    for ds in headers:
        assert ("INCOMPLETE" in ds.SeriesDescription) == (NOTE in ds.ImageComments)
    assert sum(NOTE in ds.ImageComments for ds in headers) == 1


def test_the_check_states_them_before(tmp_path, capfd):
    write_small_scan(tmp_path / "s.h5", aborted, n_slices=3)
    (entry,) = json.loads(jrsr(capfd, "check", tmp_path / "s.h5", "--json", *FAST).out)
    assert ["missing", NOTE] in entry["rows"] and entry["exit_code"] == 0
    write_small_scan(tmp_path / "s.h5", n_slices=3)
    assert "missing" not in jrsr(capfd, "check", tmp_path / "s.h5", *FAST).out
