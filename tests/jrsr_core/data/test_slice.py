"""A slice of arrays: what is checked, converted, and seen in the samples."""

import re

import numpy as np
import pytest
import torch

from jrsr_core.data import KSpaceSlice, SliceGeometry
from jrsr_core.metrics.image import psnr
from jrsr_core.physics.fourier import fft2c
from jrsr_core.physics.resolution import crop_or_pad
from jrsr_core.reconstruction.load import load_model
from tests.helpers.synthetic import coil_profiles, line_mask, noise_like, phantom, unit_norm

ONES = np.ones((4, 12, 10), "c8")
from_array = KSpaceSlice.from_array


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise_std": -1.0}, "noise_std is -1.0, expected a finite number of at least 0"),
        ({"noise_std": float("nan")}, "noise_std is nan, expected a finite number"),
        ({"noise_std": float("inf")}, "noise_std is inf, expected a finite number"),
        ({"noise_std": "0.1"}, "noise_std is '0.1', expected a finite number"),
        ({"noise_std": np.ones(4)}, "noise_std is an array (4,), expected one number for all"),
        ({"lr_readout": 5.0}, "lr_readout is 5.0, expected a whole number of at least 1"),
        ({"lr_readout": 0}, "lr_readout is 0, expected a whole number of at least 1"),
        ({"lr_readout": 4}, "lr_readout is 4, kspace has 10 samples along kx"),
        ({"geometry": (5, 220, 220)}, "geometry is (5, 220, 220), expected a SliceGeometry"),
        ({"kspace": ONES[:, :0]}, "kspace is (4, 0, 10), expected at least one element of each of"),
        ({"mask": np.array([np.nan] * 2 + [1] * 10)}, "mask has 2 elements that are NaN"),
        ({"mask": np.ones(10)}, "mask is (10,), kspace is (12, 10) along (ky, kx)"),
        ({"mask": np.ones((1, 12, 10))}, "mask is (1, 12, 10), kspace is (12, 10) along"),
        ({"acs": ONES[:3]}, "acs has 3 coils, kspace has 4"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}") as caught:
        from_array(**{"kspace": ONES, **change})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [0, 0.25, np.float32(0.25), np.array(0.25), torch.tensor(0.25)])
def test_a_noise_level_is_one_number_of_any_kind(value):
    found = from_array(ONES, noise_std=value).noise_std
    assert isinstance(found, float) and found == float(value)


def test_a_slice_shares_no_memory_with_its_arrays():
    kspace, mask, acs = ONES.copy(), np.ones((12, 10), np.float32), ONES.copy()
    tensor = torch.from_numpy(acs)
    slices = [from_array(kspace, mask, acs=block) for block in (acs, tensor)]
    for array in (kspace, mask, acs):
        array[:] = 0
    for made in slices:
        assert made.kspace.all() and made.mask.all() and made.acs.all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SliceGeometry.axial((220, 220)), "fov_mm is (220, 220), expected three numbers"),
        (lambda: SliceGeometry.axial((5, 0, 220)), "fov_mm is (5, 0, 220), expected (z, y, x) in"),
        (lambda: SliceGeometry.axial((5, np.nan, 1)), "fov_mm is (5, nan, 1), expected (z, y, x)"),
        (lambda: SliceGeometry.axial((5, 1, 1), 7), "position_mm is 7, expected three numbers"),
    ],
)
def test_a_geometry_is_vectors(make, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        make()


def test_a_geometry_takes_sequences():
    fov = (5.0, 220.0, 200.0)
    for given in (list(fov), np.array(fov)):
        assert SliceGeometry.axial(given) == SliceGeometry.axial(fov)


# Asymmetric echoes


def echo(shape, fraction=0.25, std=2e-3):
    """k-space whose readout begins late, filled up with zeros, its lines, and the truth."""
    hr = (2 * shape[0], 2 * shape[1])
    image, _ = phantom(hr)
    kspace = 0.5 * crop_or_pad(fft2c(unit_norm(coil_profiles(6, hr)) * image), shape)
    kspace = kspace + noise_like(kspace, std)
    missing = int(fraction * shape[1])
    kspace[..., :missing] = 0
    return kspace.to(torch.complex64), line_mask(shape, 2.0, 20)[:, 0], image.abs(), missing


@pytest.mark.parametrize("shape", [(48, 64), (47, 63)])
def test_ends_of_zeros_were_not_measured(shape):
    kspace, lines, truth, missing = echo(shape)
    stated = lines[:, None].repeat(1, shape[1])
    stated[:, :missing] = 0
    made, wanted = from_array(kspace, lines), from_array(kspace, stated)
    assert torch.equal(made.mask, wanted.mask) and torch.equal(made.acs, wanted.acs)
    text = f"kx: {missing} of {shape[1]} samples before and 0 of {shape[1]} after are zero"
    assert any(note.startswith(text) for note in made.notes) and len(wanted.notes) == 1
    model = load_model("cg-sense+sinc")
    image = model(made)
    assert torch.equal(image.image, model(wanted).image)
    assert any(text in warning for warning in image.report.warnings)
    # As measured zeros they would pull the image away from the truth.
    filled = from_array(kspace, lines[:, None].repeat(1, shape[1]))
    network = load_model("jrsr-dc", accept_contradictions=True)
    assert psnr(network(made), truth) > psnr(network(filled), truth) + 0.5


def test_a_coil_or_a_line_of_zeros_says_nothing():
    kspace = ONES.copy()
    kspace[1], kspace[:, 3], kspace[:, :, 0] = 0, 0, 0
    kspace[2, 5, 0] = 1
    assert from_array(kspace, np.ones(12)).mask.all()
    assert from_array(0 * ONES, np.ones(12)).mask.all()
    # Lines that were not measured hold no samples, whatever stands there.
    kspace[2, 5, 0], kspace[:, 4, 0] = 0, 1
    lines = np.arange(12) != 4
    made = from_array(kspace, lines)
    assert not made.mask[:, 0].any() and made.mask[:, 1:].sum() == 11 * 9
