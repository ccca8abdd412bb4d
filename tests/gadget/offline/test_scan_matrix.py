"""Every kind of scan against what its sampling alone explains.

A scan goes the whole way (simulated lines, file, assembly, reconstruction). Beside it the same
reconstruction gets k-space that never was a line: the frames themselves, averaged, masked, and for
3-D transformed along the readout by one FFT. Both images have the same PSNR within 0.1 dB, and are
the same image but for rounding; with a partial echo on an oversampled readout the edge of the
measured samples falls between samples of the LR grid, and so does the resolution of an external
reference of a volume; there the bound is 0.25 dB and 3 %.

The cells are chosen so that every pair of options occurs.
"""

import itertools
import random

import pytest
import torch

from gadget.compute.model import make_engine
from gadget.scan.stages import file_tasks, make_assembler, reconstruct
from gadget.settings import Settings
from jrsr_core.metrics.image import psnr
from jrsr_core.mrd.files.scan import ScanFile
from jrsr_core.mrd.planning.plan import plan_scan
from jrsr_core.mrd.simulator.request import ScanRequest
from jrsr_core.mrd.simulator.simulate import write_simulation
from jrsr_core.reconstruction.field_of_view import crop_to_fov
from jrsr_core.reconstruction.volume import reconstruct_volume
from tests.helpers.scan_oracle import echo, slice_oracle, volume_oracle

SETTINGS = Settings(model="cg-sense+sinc", kernel_width=4)
OPTIONS_2D = {
    "calibration": ["embedded", "interleaved", "separate", "external", "none"],
    "averages": [1, 2],
    "partial_fourier": [1.0, 0.75],
    "partial_echo": [1.0, 0.8],
    "oversampling": [True, False],
    "order": ["sequential", "interleaved", "reversed", "by-line"],
    "alternate": [False, True],
    "spare_lines": [False, True],
    "limits": [True, False],
    "noise_dwell": [1.0, 2.0],
    "readout_pixel": [1.0, 0.5],
}
OPTIONS_3D = {
    "calibration": ["embedded", "separate", "external", "none"],
    "averages": [1, 2],
    "partial_fourier": [1.0, 0.75],
    "partial_slice_fourier": [1.0, 0.8],
    "partial_echo": [1.0, 0.8],
    "oversampling": [True, False],
    "alternate": [False, True],
    "contrasts": [1, 2],
    "phase_oversampling": [1.0, 1.25],
}


def pairwise(options):
    """Few cells in which every pair of values of two options occurs."""
    names = list(options)
    cells = [dict(zip(names, v, strict=True)) for v in itertools.product(*options.values())]
    # Without limits nobody knows where k = 0 of a partial Fourier scan is; reversed lines together
    # with phase correction data are an echo-planar scan, and declined.
    cells = [c for c in cells if c.get("limits", True) or c["partial_fourier"] == 1.0]
    cells = [c for c in cells if not (c["alternate"] and c.get("spare_lines"))]
    random.Random(0).shuffle(cells)

    def pairs(cell):
        return set(itertools.combinations(sorted(cell.items(), key=lambda kv: kv[0]), 2))

    missing = set().union(*map(pairs, cells[:4000]))
    chosen = []
    while missing:
        best = max(cells[:800], key=lambda c: len(pairs(c) & missing))
        if not pairs(best) & missing:
            best = next(c for c in cells if pairs(c) & missing)
        chosen.append(best)
        missing -= pairs(best)
    return chosen


def name_of(cell):
    return "-".join(str(v) for v in cell.values())


def read_back(request, folder):
    made = write_simulation(request, folder / "scan.h5")
    engine = make_engine(SETTINGS)
    with ScanFile(folder / "scan.h5") as scan:
        slices = make_assembler(scan, plan_scan(scan.header, scan.heads), SETTINGS)
        return made, engine.model, list(reconstruct(file_tasks(slices), engine, SETTINGS))


def assert_same_image(image, oracle, truth, is_exact):
    assert not image.report.fallback
    ours, theirs, truth = (m.flatten(0, -2) for m in (image.magnitude, oracle.magnitude, truth))
    decibel = 0.1 if is_exact else 0.25
    assert float(psnr(ours, truth)) == pytest.approx(float(psnr(theirs, truth)), abs=decibel)
    assert (ours - theirs).norm() / theirs.norm() < (1e-3 if is_exact else 0.03)


def cell_2d(cell, folder):
    """Image, oracle and truth of every image of a cell, and whether they have to be the same."""
    request = ScanRequest(
        matrix="96x112",
        n_coils=5,
        mask="regular",
        acceleration=2,
        acs=16,
        slices=3,
        repetitions=2 if cell["calibration"] == "interleaved" else 1,
        **cell,
    )
    made, recon, images = read_back(request, folder)
    assert len(images) == 3 * request.repetitions
    is_exact = request.partial_echo == 1.0 or not request.oversampling
    for number, image in enumerate(images):
        expected = recon(slice_oracle(made, request, image.counters))
        yield image, expected, made.truth[number], is_exact


def cell_3d(cell, folder):
    """The same of volumes."""
    request = ScanRequest(
        protocol="wall-16x",
        matrix="64x56",
        positions=6,
        n_coils=5,
        mask="random",
        acceleration=2,
        acs=12,
        **cell,
    )
    if request.calibration in ("separate", "external"):
        request = request.override(mask="regular")
    made, recon, images = read_back(request, folder)
    assert len(images) == request.contrasts
    is_exact = request.calibration != "external" and (
        request.partial_echo == 1.0 or not request.oversampling
    )
    for image, truth in zip(images, made.truth, strict=True):
        oracle = reconstruct_volume(recon.slices, volume_oracle(made, request, image.counters))
        cropped = (crop_to_fov(i, made.recon_fov_mm) for i in (image, oracle))
        yield *cropped, truth, is_exact


@pytest.mark.parametrize("cell", pairwise(OPTIONS_2D), ids=name_of)
def test_2d(cell, tmp_path):
    for found in cell_2d(cell, tmp_path):
        assert_same_image(*found)


@pytest.mark.parametrize("cell", pairwise(OPTIONS_3D), ids=name_of)
def test_3d(cell, tmp_path):
    for found in cell_3d(cell, tmp_path):
        assert_same_image(*found)


@pytest.mark.parametrize("fraction", [0.6, 0.75])
def test_an_asymmetric_echo_of_a_volume_loses_what_was_not_measured(fraction, tmp_path):
    """Zero-filled along the readout: by Parseval the error has the energy of what is missing."""
    request = ScanRequest(
        protocol="wall-16x",
        matrix="64x56",
        positions=24,
        n_coils=5,
        mask="random",
        acceleration=2,
        acs=12,
        noise_db=60.0,
        oversampling=False,
    )
    made, _, (whole,) = read_back(request, tmp_path)
    (tmp_path / "partial").mkdir()
    partial = request.override(partial_echo=fraction)
    _, _, (image,) = read_back(partial, tmp_path / "partial")
    kspace = made.frames[0].kspace
    missing = kspace * (1 - echo(partial, kspace.shape[-1]))
    lost = float(missing.norm() / kspace.norm()) ** 2
    energy = whole.magnitude.square().mean()
    bound = float(10 * torch.log10(whole.magnitude.max().square() / (1.3 * lost * energy)))
    found = float(psnr(image.magnitude.flatten(0, -2), whole.magnitude.flatten(0, -2)))
    assert bound < found < bound + 10, (bound, found)


SAME_IMAGE = {
    "order": "by-line",
    "alternate": True,
    "segments": 3,
    "spare_lines": True,
    "spare_encoding": True,
    "limits": False,
    "oversampling": False,
    "noise_scans": 2,
    "noise_dwell": 3.0,
    "calibration": "none",
    "tilt": 30.0,
    "turn": 20.0,
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Images of the plain scan."""
    request = ScanRequest(matrix="96x112", n_coils=5, acs=16, slices=3)
    _, _, images = read_back(request, tmp_path_factory.mktemp("plain"))
    return request, images


@pytest.mark.parametrize("name", SAME_IMAGE)
def test_what_does_not_change_the_image(name, plain, tmp_path):
    request, images = plain
    _, _, others = read_back(request.override(**{name: SAME_IMAGE[name]}), tmp_path)
    for image, other in zip(images, others, strict=True):
        error = (image.magnitude - other.magnitude).norm() / image.magnitude.norm()
        assert error < 1e-3, error


def test_averages_gain_what_averages_gain(plain, tmp_path):
    """Half the noise power at a known mask: the error of four averages is that of less noise."""
    request, images = plain
    noisy = request.override(noise_db=20.0)
    for n in (1, 4):
        (tmp_path / str(n)).mkdir()
    requests = (noisy.override(averages=n) for n in (1, 4))
    one, four = (read_back(r, tmp_path / str(r.averages)) for r in requests)
    assert not any(image.report.fallback for image in one[2] + four[2])
    errors = [
        sum(
            [
                float((a.magnitude - b.magnitude).square().mean())
                for a, b in zip(r[2], images, strict=True)
            ]
        )
        for r in (one, four)
    ]
    assert errors[1] < 0.4 * errors[0]
    assert four[2][0].report.noise_std == pytest.approx(one[2][0].report.noise_std / 2, rel=0.01)
