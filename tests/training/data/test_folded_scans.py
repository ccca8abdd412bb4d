"""Training scans of objects larger than the field of view: input and truth are of one image."""

import pytest
import torch

from jrsr_core.physics.fourier import fft2c
from jrsr_core.physics.solvers import conjugate_gradient
from jrsr_core.simulation.acquisition import fold_over
from tests.helpers.synthetic import coil_profiles, noise_like, phantom, unit_norm
from training.data.acquire import undersample
from training.data.scans import calibrate_scan

HR, TALL = (128, 112), (168, 112)


def measured():
    """Fully sampled HR k-space of eight coils, 50 dB, the object folded over."""
    image, _ = phantom(TALL, (0.44, 0.40))
    kspace = fft2c(fold_over(unit_norm(coil_profiles(8, TALL)) * image, HR[0]))
    std = float(kspace.abs().square().mean().sqrt()) * 10 ** (-50 / 20)
    return kspace + noise_like(kspace, std)


def mask(acceleration):
    lines = torch.zeros(HR[0] // 2, HR[1] // 2)
    lines[::acceleration] = 1
    lines[HR[0] // 4 - 10 :][:20] = 1
    return lines


def sense(scan):
    """CG-SENSE on the LR grid."""
    operator = scan.sense.at_low_resolution()
    image, _ = conjugate_gradient(operator.gram, operator.adjoint(scan.kspace), n_iter=30)
    return image


def error(image, truth):
    return float(torch.linalg.vector_norm(image - truth) / torch.linalg.vector_norm(truth))


@pytest.mark.parametrize("truth_maps", ["acs", "full"])
@pytest.mark.parametrize("acceleration", [1, 2, 3])
def test_unfolding_gives_the_truth_of_a_folded_scan(acceleration, truth_maps):
    scan = calibrate_scan(undersample(measured(), mask(acceleration)), truth_maps)
    assert error(sense(scan), scan.lr_target) < 0.06


def test_what_is_folded_is_in_neither_input_nor_truth():
    one, two = (calibrate_scan(undersample(measured(), mask(1)), "acs", n) for n in (1, 2))
    seen = (one.sense.at_low_resolution()(one.lr_target) - one.kspace).norm() / one.kspace.norm()
    untouched = (two.with_one_map().sense.at_low_resolution()(two.lr_target) - two.kspace).norm()
    assert float(seen) < 0.04 < 0.08 < float(untouched / two.kspace.norm())


def test_models_of_several_maps_get_the_whole_scan():
    acquired = undersample(measured(), mask(2))
    scan = calibrate_scan(acquired, "acs", 2)
    scale = acquired.fully_sampled.abs().max() / scan.kspace.abs().max()
    torch.testing.assert_close(scan.kspace[0] * scale, acquired.kspace)
