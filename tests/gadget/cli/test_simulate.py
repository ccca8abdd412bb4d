"""`jrsr simulate` and `jrsr demo`: scans with a known answer."""

import gzip
import re

import h5py
import numpy as np
import PIL.Image
import pytest

from jrsr_core.metrics.image import psnr
from jrsr_core.mrd.assembly.assemble import Assembler
from jrsr_core.mrd.files.images import ImageFile
from jrsr_core.mrd.files.scan import ScanFile
from jrsr_core.mrd.grey_values import values_of
from jrsr_core.mrd.planning.plan import plan_scan
from jrsr_core.mrd.simulator.request import ScanRequest, UnusualHeaders
from tests.helpers.commands import assert_one_line, jrsr

SMALL = ("--coils", 4)


def assembled(path):
    with ScanFile(path) as scan:
        return list(Assembler(scan, plan_scan(scan.header, scan.heads)))


def test_scan_and_truth(tmp_path, capfd):
    scan, truth = tmp_path / "scan.h5", tmp_path / "truth.h5"
    outcome = jrsr(capfd, "simulate", "-o", scan, "--truth", truth, *SMALL, "--slices", 2)
    assert outcome.code == 0, outcome.err
    slices = assembled(scan)
    assert len(slices) == 2
    assert slices[0].kspace.shape == (4, 116, 128)
    with h5py.File(truth) as file:
        assert slices[0].noise_std == pytest.approx(file.attrs["noise_std"], rel=0.05)
    assert slices[0].geometry.fov_mm == pytest.approx((5.0, 208.8, 230.4))
    with h5py.File(truth) as file:
        assert file["truth"].shape == (2, 232, 256)


@pytest.mark.parametrize(
    "option",
    [
        ("--mask", "full"),
        ("--accel", "3"),
        ("--coils", "5"),
        ("--no-noise-scan",),
        ("--no-oversampling",),
        ("--averages", "2"),
        ("--slices", "2"),
        ("--order", "interleaved"),
        ("--seed", "1"),
        ("--noise-db", "10"),
    ],
)
def test_every_option_changes_the_scan(option, tmp_path, capfd):
    base = SMALL if "--order" not in option else (*SMALL, "--slices", 3)
    contents = []
    for i, extra in enumerate(((), option)):
        path = tmp_path / f"{i}.h5"
        assert jrsr(capfd, "simulate", "-o", path, *base, *extra).code == 0
        with ScanFile(path) as scan:
            lines = [scan.samples(np.array([i])).tobytes() for i in range(len(scan.heads))]
            contents.append((scan.heads.tobytes(), lines))
    same = contents[0] == contents[1]
    assert not same


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--partial-fourier", "0.625"), 116 / 72),
        (("--partial-echo", "0.75"), 128 / 96),
        (("--partial-fourier", "0.75", "--partial-echo", "0.75"), 116 * 128 / (87 * 96)),
        (("--calibration", "separate", "--accel", "2"), 2.0),
    ],
)
def test_the_acceleration_counts_measured_samples(options, expected, tmp_path, capfd):
    path = tmp_path / "s.h5"
    made = jrsr(capfd, "simulate", "-o", path, *SMALL, "--mask", "full", *options)
    assert made.out.endswith(f"acceleration {expected:.2f}\n"), made
    (shown,) = re.findall(r"acceleration +(.*)\n", jrsr(capfd, "check", path).out)
    # One end that is not measured is no acceleration that has to be undone.
    one_end = " (1.00 without what one end of k-space lacks)" if "separate" not in options else ""
    assert shown == f"{expected:.2f}{one_end}"


def test_options_are_the_fields_of_a_request_that_scanners_use(tmp_path, capfd):
    shown = jrsr(capfd, "simulate", "--help").out
    for field in ScanRequest.model_fields:
        name = {"acceleration": "accel", "n_coils": "coils"}.get(field, field)
        option = f"--{name.replace('_', '-')} "
        assert (option in shown) == (field not in UnusualHeaders.model_fields), option
    outcome = jrsr(capfd, "simulate", "-o", tmp_path / "s.h5", "--spare-lines")
    assert_one_line(outcome, 2, "No such option: --spare-lines")


def test_image_of_a_file(tmp_path, capfd):
    with h5py.File(tmp_path / "images.h5", "w") as file:
        slices = np.zeros((3, 64, 48), np.uint8)
        slices[2, 20:40, 10:30] = 200
        file["slices"] = slices
    scan = tmp_path / "scan.h5"
    image = f"{tmp_path / 'images.h5'}:2"
    assert jrsr(capfd, "simulate", "-o", scan, "--image", image, "--mask", "full").code == 0
    assert assembled(scan)[0].kspace.shape[1:] == (24, 32)
    beyond = f"{tmp_path / 'images.h5'}:3"
    outcome = jrsr(capfd, "simulate", "-o", tmp_path / "x.h5", "--image", beyond)
    words = f"jrsr: {tmp_path / 'images.h5'}: slice 3 asked for, the file has 3\n"
    assert (outcome.code, outcome.err) == (2, words)


def write_stack(path, slices):
    with h5py.File(path, "w") as file:
        file["slices"] = slices


def nifti(path):
    path.write_bytes(gzip.compress(b"\0" * 344 + b"n+1\0" + bytes(100)))


def picture(path):
    PIL.Image.new("L", (8, 8)).save(path, "png")


def cut_off(path):
    write_stack(path, np.ones((1, 64, 48)))
    path.write_bytes(path.read_bytes()[:-1000])


@pytest.mark.parametrize(
    ("write", "code", "words"),
    [
        (nifti, 2, " is a NIfTI image (gzip), expected an image stack (HDF5): `jrsr-train"),
        (picture, 2, " is a PNG picture, expected an image stack (HDF5): `jrsr-train images`"),
        (lambda path: path.write_text("text"), 2, " is no HDF5 file, expected an image stack"),
        (cut_off, 1, ": HDF5 cannot read it, the file may be cut off (Unable"),
    ],
)
def test_a_file_that_is_no_image_stack_is_named(write, code, words, tmp_path, capfd):
    write(tmp_path / "object")
    image = tmp_path / "object"
    outcome = jrsr(capfd, "simulate", "-o", tmp_path / "s.h5", "--image", f"{image}:0")
    assert_one_line(outcome, code, f"{image}{words}")
    assert list(tmp_path.iterdir()) == [image]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--protocol", "brain-6x"), "did you mean 'brain-5x'?"),
        (("--image", "no.h5"), "expected FILE:INDEX"),
        (("--image", "no.h5:0"), "no.h5: no such file"),
        (("--mask", "radial"), "radial"),
        (("--accel", "100"), "acceleration"),
    ],
)
def test_wrong_usage(arguments, words, tmp_path, capfd):
    outcome = jrsr(capfd, "simulate", "-o", tmp_path / "s.h5", *SMALL, *arguments)
    assert outcome.code in (1, 2) and len(outcome.err.splitlines()) == 1
    assert words in outcome.err
    assert not list(tmp_path.iterdir())


def test_demo(tmp_path, capfd):
    outcome = jrsr(capfd, "demo", "-o", tmp_path / "demo", "--model", "cg-sense+sinc")
    assert outcome.code == 0, outcome.err
    names = sorted(p.name for p in (tmp_path / "demo").iterdir())
    assert names == ["comparison.png", "images.h5", "report.html", "scan.h5", "truth.h5"]
    for words in ("PSNR", "SSIM", "zero-filled", "cg-sense+bicubic", "cg-sense+sinc"):
        assert words in outcome.out
    again = jrsr(capfd, "demo", "-o", tmp_path / "demo", "--model", "cg-sense+sinc")
    assert again.code == 2 and "--overwrite" in again.err


def test_the_demo_shows_the_image_that_it_wrote(tmp_path, capfd):
    settings = ("--set", "time_limit=0.001", "--set", "output=int16")
    outcome = jrsr(capfd, "demo", "-o", tmp_path / "demo", "--model", "recon@brain-5x", *settings)
    assert outcome.code == 3, outcome
    row = next(line for line in outcome.out.splitlines() if line.startswith("FALLBACK"))
    with ImageFile(tmp_path / "demo" / "images.h5") as images:
        ((_, image),) = images.with_groups()
    with h5py.File(tmp_path / "demo" / "truth.h5") as file:
        truth = file["truth"][0]
    assert float(row.split()[1]) == pytest.approx(
        float(psnr(values_of(image)[0, 0], truth)), abs=0.01
    )
