"""Reference scans of another receiver gain: the same maps, and so the same image."""

import dataclasses

import pytest
import torch

from jrsr_core.calibration.acs_noise import (
    MAX_RATIO,
    acs_noise_std,
    is_own_centre,
    volume_acs_noise_std,
)
from jrsr_core.calibration.noise import estimate_noise_std
from jrsr_core.data import KSpaceVolume
from jrsr_core.metrics.image import psnr
from jrsr_core.mrd.lines.acquired import only_calibrates
from jrsr_core.mrd.simulator.request import ScanRequest
from jrsr_core.mrd.simulator.simulate import simulate_scan
from jrsr_core.reconstruction.load import load_model
from jrsr_core.reconstruction.volume import map_sources
from tests.helpers.mrd_scans import assembled, copied
from tests.jrsr_core.reconstruction.test_reconstructor import GEOMETRY, make_slice

NOISY = ScanRequest(
    matrix="128x128", n_coils=8, acs=24, mask="regular", acceleration=2, noise_db=20.0
)
GAINS = (1e-3, 0.01, 0.05, 0.1, 0.3, 3.0, 10.0, 1e3)


@pytest.fixture(scope="module", params=["separate", "external"])
def scan(request):
    return simulate_scan(NOISY.override(calibration=request.param))


def with_reference_gain(scan, gain):
    """The slice or volume of a scan whose reference lines are `gain` times as large."""
    lines = copied(scan.lines)
    for i in only_calibrates(lines.heads).nonzero()[0]:
        lines.data[i] *= gain
    return assembled(scan.header_xml, lines)[0]


@pytest.mark.parametrize("gain", GAINS)
def test_the_gain_of_a_reference_scan_changes_no_image(scan, gain):
    recon = load_model("cg-sense+sinc")
    expected = recon(with_reference_gain(scan, 1.0)).magnitude
    image = recon(with_reference_gain(scan, gain))
    assert not image.report.warnings
    # The estimate and the stated level differ by a few per cent.
    assert float(psnr(image.magnitude, expected)) > 45


@pytest.mark.parametrize("gain", GAINS)
def test_the_level_is_that_of_the_reference_scan(scan, gain):
    slice_ = with_reference_gain(scan, gain)
    found = acs_noise_std(slice_)
    assert 1 / MAX_RATIO < found / (gain * slice_.noise_std) < MAX_RATIO


def test_the_level_of_the_own_centre_is_that_of_the_image():
    _, slice_ = make_slice()
    assert is_own_centre(slice_)
    wrong = dataclasses.replace(slice_, noise_std=20 * slice_.noise_std)
    assert acs_noise_std(wrong) == wrong.noise_std


def test_the_estimate_of_one_coil_is_only_a_bound():
    """It may be far above the noise; a stated level below it is kept, one far above it is not."""
    _, slice_ = make_slice(n_coils=1)
    other = dataclasses.replace(slice_, acs=1.5 * slice_.acs)
    bound = estimate_noise_std(other.acs, torch.ones_like(other.acs[0].real))
    for level, expected in ((bound / 10, bound / 10), (10 * bound, bound)):
        found = acs_noise_std(dataclasses.replace(other, noise_std=level))
        assert found == pytest.approx(expected)


@pytest.mark.parametrize("gain", [0.01, 1.0, 100.0])
def test_no_position_of_a_volume_is_taken_for_air(gain):
    _, slice_ = make_slice(noise_db=20.0)
    planes, acs = (torch.stack((x, 0.5 * x, 0.3 * x)) for x in (slice_.kspace, slice_.acs))
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(acs.shape, dtype=acs.dtype, generator=generator)
    acs = gain * (acs + slice_.noise_std * noise)
    level = slice_.noise_std
    volume = KSpaceVolume(planes, slice_.mask, acs, GEOMETRY, noise_std=level, acs_noise_std=level)
    assert map_sources(volume, level) == [0, 1, 2]
    # The noise of the simulated scan is in the ACS as well.
    assert volume_acs_noise_std(volume, level) / (gain * level) == pytest.approx(2**0.5, rel=0.5)


def test_an_acs_too_small_for_an_estimate_has_the_level_of_the_image():
    _, slice_ = make_slice()
    small = dataclasses.replace(slice_, acs=100 * slice_.acs[:, :2, :2])
    assert acs_noise_std(small) == slice_.noise_std
