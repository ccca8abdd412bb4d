"""A slice with samples of absurd size: a finite image in every format, the others are whole."""

import re

import h5py
import numpy as np
import pydicom
import pytest

from jrsr_core.mrd.assembly.assemble import Assembler
from tests.helpers.commands import FAST, jrsr, write_small_scan

FORMATS = "mrd,dicom,enhanced,nifti,png,report"
TOO_SMALL, TOO_LARGE = "too small to compute with", "NaN or infinite samples"


def write(path, factor):
    """Write three slices, the samples of the second one multiplied by `factor`."""

    def change(xml, lines):
        for i in np.flatnonzero(lines.heads["idx"]["slice"] == 1):
            with np.errstate(over="ignore"):
                changed = lines.data[i].astype(np.complex128) * factor
                lines.data[i] = changed.astype(np.complex64)
        return xml, lines

    write_small_scan(path, change, n_slices=3)


def pixels(path):
    with h5py.File(path) as file:
        return file["dataset/image_1/data"][()]


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    from gadget.cli import main as cli

    path = tmp_path_factory.mktemp("healthy") / "s.h5"
    write(path, 1.0)
    assert cli.run(["recon", str(path), *FAST]) == 0
    return pixels(path.with_name("s_jrsr.h5"))


@pytest.mark.parametrize(
    ("factor", "reason"),
    [(1e-42, TOO_SMALL), (1e-30, ""), (1e22, ""), (1e36, ""), (1e38, TOO_LARGE), (1e45, TOO_LARGE)],
)
def test_the_others_are_whole(factor, reason, healthy, tmp_path, capfd):
    write(tmp_path / "s.h5", factor)
    outcome = jrsr(capfd, "recon", tmp_path / "s.h5", "--format", FORMATS, *FAST)
    assert outcome.code == (3 if reason else 0)
    assert reason in outcome.err and "RuntimeWarning" not in outcome.err
    assert len(outcome.err.splitlines()) == bool(reason)
    found = pixels(tmp_path / "s_jrsr.h5")
    np.testing.assert_array_equal(found[[0, 2]], healthy[[0, 2]])
    assert np.isfinite(found).all()
    if factor < 1e38:
        np.testing.assert_allclose(found[1].max() / factor, healthy[1].max(), rtol=0.2)
    nibabel = pytest.importorskip("nibabel")
    assert np.isfinite(nibabel.load(tmp_path / "s_jrsr.nii.gz").get_fdata()).all()
    for file in sorted((tmp_path / "s_jrsr_dicom").iterdir()):
        ds = pydicom.dcmread(file)
        slope = float(ds.RealWorldValueMappingSequence[0].RealWorldValueSlope)
        assert np.isfinite(slope) and slope > 0
        assert ds.pixel_array.dtype == np.uint16
    texts = re.sub('src="[^"]*"', "", (tmp_path / "s_jrsr.html").read_text())
    assert not re.search(r"\b(nan|inf)\b", texts)


class BrokenAt:
    """Raises an error that nobody expected while the k-space of some slices is put together."""

    def __init__(self, *numbers):
        self.numbers, self.whole = numbers, Assembler._slice

    def __get__(self, assembler, owner):
        def assemble(counters, lines):
            if counters.slice in self.numbers:
                raise ZeroDivisionError("division by zero")
            return self.whole(assembler, counters, lines)

        return assemble


@pytest.mark.parametrize("names", ["mrd", FORMATS])
def test_an_image_that_cannot_be_assembled_is_left_out(
    names, healthy, tmp_path, capfd, monkeypatch
):
    pytest.importorskip("nibabel")
    write(tmp_path / "s.h5", 1.0)
    monkeypatch.setattr(Assembler, "_slice", BrokenAt(1))
    outcome = jrsr(capfd, "recon", tmp_path / "s.h5", "--format", names, *FAST)
    words = "jrsr: s.h5: image left out: slice 1: ZeroDivisionError: division by zero\n"
    assert (outcome.code, outcome.err) == (3, words)
    assert outcome.out.startswith("s.h5: 2 images")
    np.testing.assert_array_equal(pixels(tmp_path / "s_jrsr.h5"), healthy[[0, 2]])
    if names == FORMATS:
        assert len(list((tmp_path / "s_jrsr_dicom").iterdir())) == 2


def test_a_scan_without_any_image_has_failed(tmp_path, capfd, monkeypatch):
    write(tmp_path / "s.h5", 1.0)
    monkeypatch.setattr(Assembler, "_slice", BrokenAt(0, 1, 2))
    outcome = jrsr(capfd, "recon", tmp_path / "s.h5", *FAST)
    words = "jrsr: s.h5: slice 0: ZeroDivisionError: division by zero\n"
    assert (outcome.code, outcome.err) == (1, words)
    assert [p.name for p in tmp_path.iterdir()] == ["s.h5"]
