"""A readout acquired at high resolution: its grid, its samples in the HR consistency, its place."""

from dataclasses import replace

import ismrmrd
import numpy as np
import pytest
import torch

from gadget.compute.model import make_reconstructor
from gadget.scan.stages import make_assembler
from gadget.settings import Settings
from jrsr_core.data import Counters, KSpaceSlice
from jrsr_core.metrics.image import psnr
from jrsr_core.models.phase import smooth_phase
from jrsr_core.mrd.files.scan import ScanFile
from jrsr_core.mrd.header.encoding import Encoding
from jrsr_core.mrd.planning.plan import plan_scan
from jrsr_core.mrd.simulator.request import ScanRequest
from jrsr_core.mrd.simulator.simulate import write_simulation
from jrsr_core.physics.fourier import fft2c
from jrsr_core.reconstruction.fallback import fallback_image
from jrsr_core.simulation.acquisition import to_low_resolution
from jrsr_core.weights.find import find_card
from tests.benchmarks.hr_readout import narrowed
from tests.helpers.commands import FAST, assert_one_line, jrsr
from tests.helpers.scan_oracle import GEOMETRY
from tests.helpers.synthetic import coil_profiles

DEFAULT = Settings()
CLASSICAL = Settings(model="cg-sense+sinc")


def encoding(ny, nx, pixel):
    """`pixel` is the readout over the phase-encode pixel."""
    fov = (5.0, 2.0 * ny, 2.0 * pixel * nx)
    return Encoding((1, ny, 2 * nx), (1, ny, nx), (*fov[:2], 2 * fov[2]), fov)


@pytest.mark.parametrize("nx", [128, 127, 96, 61])
@pytest.mark.parametrize("pixel", [0.3, 0.5, 0.6, 0.75])
def test_pixels_are_square_and_no_sample_is_lost(nx, pixel):
    n_lr = encoding(100, nx, pixel).lr_readout_size
    assert nx <= 2 * n_lr < 2 * nx
    square = pixel * nx
    assert n_lr == pytest.approx(max(square, nx / 2), abs=0.51)


@pytest.mark.parametrize("pixel", [0.76, 1.0, 1.4])
def test_other_readouts_are_doubled_as_before(pixel):
    assert encoding(100, 128, pixel).lr_readout_size is None
    deep = replace(encoding(100, 128, 0.5), encoding_matrix=(20, 100, 256))
    assert deep.lr_readout_size is None


def scanned(folder, settings=CLASSICAL, **options):
    """The simulation of a request, and its slice as assembled from the file."""
    request = ScanRequest(readout_pixel=0.5, **options)
    made = write_simulation(request, folder / "scan.h5")
    with ScanFile(folder / "scan.h5") as scan:
        plan = plan_scan(scan.header, scan.heads)
        (slice_,) = make_assembler(scan, plan, settings)
    return made, slice_


def outer_residual(image, calibrated):
    """Relative residual over the samples beyond the LR grid."""
    complex_image = image.image[None] / calibrated.scale
    if not complex_image.is_complex():
        low_resolution = image.low_resolution[None]
        phase = smooth_phase(low_resolution, complex_image.shape[-2:])[1]
        complex_image = complex_image * phase
    outer = torch.ones_like(calibrated.sense.mask)
    n_lr, n = calibrated.sense.lr_shape[1], outer.shape[-1]
    outer[..., n // 2 - n_lr // 2 :][..., :n_lr] = 0
    difference = outer * (calibrated.sense(complex_image) - calibrated.kspace)
    return float(difference.norm() / (outer * calibrated.kspace).norm())


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    return scanned(tmp_path_factory.mktemp("wide"), n_coils=6, matrix="160x176")


def test_outer_samples_are_explained_and_improve_the_image(wide):
    made, slice_ = wide
    recon = make_reconstructor(DEFAULT)
    calibrated = recon.slices.calibrated(slice_)
    ours, ignoring = recon(slice_), recon(narrowed(slice_))
    assert ours.image.shape == ignoring.image.shape == made.truth[0].shape
    assert outer_residual(ours, calibrated) < 0.8 * outer_residual(ignoring, calibrated)
    gain = psnr(ours.magnitude, made.truth[0]) - psnr(ignoring.magnitude, made.truth[0])
    assert gain > 0.4, gain
    assert ours.report.noise_std == pytest.approx(made.noise_std / 2**0.5, rel=0.02)


@pytest.mark.parametrize("model", ["cg-sense+sinc", "zero-filled+sinc", "jrsr"])
def test_models_without_consistency_use_the_centre(model, wide):
    _, slice_ = wide
    recon = make_reconstructor(Settings(model=model))
    ours, central = recon(slice_), recon(narrowed(slice_))
    error = (ours.magnitude - central.magnitude).norm() / central.magnitude.norm()
    assert error < 1e-3
    # The report still compares with everything that was measured.
    assert ours.report.kspace_residual > 1.2 * central.report.kspace_residual


def test_noise_is_estimated_in_the_units_of_the_lr_grid(tmp_path):
    made, slice_ = scanned(tmp_path, n_coils=6, matrix="160x176", noise_scan=False)
    assert slice_.noise_std is None
    report = make_reconstructor(CLASSICAL)(slice_).report
    assert report.noise_std == pytest.approx(made.noise_std / 2**0.5, rel=0.1)


def test_fallback_images_have_the_same_grid(wide):
    made, slice_ = wide
    recon = make_reconstructor(DEFAULT)
    image = fallback_image(recon.slices, slice_, "why not")
    plain = fallback_image(recon.slices, narrowed(slice_), "why not")
    assert image.report.model == "cg-sense+sinc" and image.image.shape == made.truth[0].shape
    assert (image.magnitude - plain.magnitude).norm() < 1e-3 * plain.magnitude.norm()
    uncalibrated = fallback_image(
        recon.slices, replace(slice_, acs=slice_.acs[:, :0, :0]), "no ACS"
    )
    assert uncalibrated.report.model == "zero-filled+sinc"
    assert uncalibrated.image.shape == made.truth[0].shape


@pytest.mark.parametrize("partial_echo", [1.0, 0.7])
@pytest.mark.parametrize("oversampling", [True, False])
def test_assembly_is_the_fully_simulated_scan(partial_echo, oversampling, tmp_path):
    made, slice_ = scanned(
        tmp_path,
        matrix="96x112",
        n_coils=3,
        acs=16,
        noise_scan=False,
        partial_echo=partial_echo,
        oversampling=oversampling,
    )
    (frame,) = made.frames
    assert slice_.lr_shape == (48, 56) and slice_.kspace.shape == (3, 48, 112)
    missing = 112 - round(112 * partial_echo)
    assert slice_.mask[24].sum() == pytest.approx(112 - missing, abs=1)
    expected = frame.kspace[:, 0] * slice_.mask / 2**0.5
    assert (slice_.kspace - expected).norm() < 0.02 * expected.norm()
    if partial_echo == 1:
        torch.testing.assert_close(slice_.kspace, expected, rtol=1e-4, atol=1e-4)
        assert slice_.acs.shape[-1] == 112


def test_scale_is_that_of_a_scan_at_low_resolution(tmp_path):
    options = {"matrix": "96x112", "n_coils": 3, "noise_db": 200.0, "noise_scan": False}
    options |= {"mask": "full"}
    _, fine = scanned(tmp_path, **options)
    coarse = write_simulation(ScanRequest(**options), tmp_path / "coarse.h5").frames[0]
    assert (fine.kspace[..., 28:84] - coarse.kspace[:, 0]).norm() < 1e-3 * fine.kspace.norm()


def test_a_point_stays_where_it_is():
    """The operator with all samples puts a point of the object on its own HR pixel."""
    hr, acquired = (96, 112), (48, 112)
    image = torch.zeros(hr)
    image[60, 37] = 1.0
    csm = coil_profiles(4, hr)
    kspace = to_low_resolution(fft2c(csm * image), acquired) / 2**0.5
    slice_ = KSpaceSlice(
        kspace, torch.ones(acquired), kspace[:, 12:36], GEOMETRY, Counters(), lr_readout=56
    )
    recon = make_reconstructor(DEFAULT.override({"kernel_width": 4}))
    magnitude = recon(slice_).magnitude
    assert np.unravel_index(int(magnitude.argmax()), hr) == (60, 37)
    # Between two LR pixels along the readout, where an image of the centre alone is blurred.
    assert magnitude[60, 37] > 1.3 * recon(narrowed(slice_)).magnitude[60, 37]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ((), "all for HR consistency"),
        (FAST, "the outer ones not used by cg-sense+sinc"),
        (("--model", str(find_card("jrsr"))), "the outer ones not used by jrsr)"),
    ],
)
def test_check_and_header_say_it(model, words, tmp_path, capfd):
    scan = tmp_path / "scan.h5"
    options = ("--matrix", "96x112", "--coils", "4", "--acs", "16", "--readout-pixel", "0.5")
    assert jrsr(capfd, "simulate", "-o", scan, *options).code == 0
    out = " ".join(jrsr(capfd, "check", scan, *model).out.split())
    assert "112 samples (high resolution already: 56 central ones for the model" in out
    assert words in out and "48 x 56 -> 96 x 112" in out
    outcome = jrsr(capfd, "check", scan, "--model", "nowhere.json")
    assert_one_line(outcome, 2, "nowhere.json: no such weights card")
    assert jrsr(capfd, "recon", scan, *model).code == 0
    with ismrmrd.Dataset(str(tmp_path / "scan_jrsr.h5"), "dataset", False) as dataset:
        image = dataset.read_image("image_1", 0)
    assert image.data.shape == (1, 1, 96, 112)
    assert image.meta["JRSR_acquired_matrix"] == ["48", "112"]
    assert image.meta["JRSR_upsampling_factor"] == ["2.0", "1.0"]
    with ScanFile(scan) as file:
        wanted = file.header.encodings[0].recon_fov_mm
    assert tuple(image.field_of_view) == pytest.approx(wanted[::-1])
