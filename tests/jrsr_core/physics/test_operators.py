"""One set of laws for all operators, at all parities, with and without batch and map axes."""

import re

import numpy as np
import pytest
import torch

from jrsr_core.acs import find_acs
from jrsr_core.physics.fourier import FourierOperator
from jrsr_core.physics.operator import LinearOperator
from jrsr_core.physics.pointwise import CoilOperator, SamplingOperator
from jrsr_core.physics.resolution import CroppedFourierOperator, KSpaceCropOperator, decimate
from jrsr_core.physics.sense import SenseOperator
from tests.laws import (
    assert_adjoint,
    assert_close,
    assert_gradient_is_adjoint,
    assert_gram,
    assert_linear,
    random_complex,
)

Case = tuple[LinearOperator, tuple[int, ...], tuple[int, ...]]
SIZES = [(16, 12), (15, 11), (16, 11), (15, 12)]
BATCHES = [(), (3,), (2, 2)]
COILS, MAPS = 3, 2


def _mask(shape, batch, lines=False):
    generator = torch.Generator().manual_seed(5)
    mask = (torch.rand((*batch, 1, *shape), generator=generator) < 0.6).float()
    if lines:
        mask = mask[..., :1].expand_as(mask).contiguous()
    return mask if batch else mask[0]


def _csm(shape, batch, n_maps):
    maps = (n_maps,) if n_maps else ()
    return random_complex(*batch, *maps, COILS, *shape, seed=3) / 2


def fourier(shape, batch) -> Case:
    return FourierOperator(), (*batch, COILS, *shape), (*batch, COILS, *shape)


def coils(shape, batch) -> Case:
    return CoilOperator(_csm(shape, batch, 0)), (*batch, *shape), (*batch, COILS, *shape)


def coils_two_maps(shape, batch) -> Case:
    operator = CoilOperator(_csm(shape, batch, MAPS), has_map_axis=True)
    return operator, (*batch, MAPS, *shape), (*batch, COILS, *shape)


def sampling(shape, batch) -> Case:
    both = (*batch, COILS, *shape)
    return SamplingOperator(_mask(shape, batch)), both, both


def crop(shape, batch) -> Case:
    hr = (2 * shape[0] + 1, 2 * shape[1])
    return KSpaceCropOperator(hr, shape), (*batch, COILS, *hr), (*batch, COILS, *shape)


def cropped_fourier(shape, batch) -> Case:
    hr = (2 * shape[0] + 1, 2 * shape[1])
    return CroppedFourierOperator(hr, shape), (*batch, COILS, *hr), (*batch, COILS, *shape)


def pad(shape, batch) -> Case:
    operator, domain, codomain = crop(shape, batch)
    return operator.H, codomain, domain


def composed(shape, batch) -> Case:
    operator = SamplingOperator(_mask(shape, batch)) @ FourierOperator()
    return operator, (*batch, COILS, *shape), (*batch, COILS, *shape)


def sense(shape, batch) -> Case:
    operator = SenseOperator(_csm(shape, batch, 0), _mask(shape, batch))
    return operator, (*batch, *shape), (*batch, COILS, *shape)


def sense_lines(shape, batch) -> Case:
    operator = SenseOperator(_csm(shape, batch, 0), _mask(shape, batch, lines=True))
    return operator, (*batch, *shape), (*batch, COILS, *shape)


def sense_two_maps(shape, batch) -> Case:
    operator = SenseOperator(_csm(shape, batch, MAPS), _mask(shape, batch), has_map_axis=True)
    return operator, (*batch, MAPS, *shape), (*batch, COILS, *shape)


def sense_hr(shape, batch) -> Case:
    hr = (2 * shape[0], 2 * shape[1])
    operator = SenseOperator(_csm(hr, batch, 0), _mask(shape, batch))
    return operator, (*batch, *hr), (*batch, COILS, *shape)


def sense_hr_lines_two_maps(shape, batch) -> Case:
    hr = (2 * shape[0], 2 * shape[1])
    mask = _mask(shape, batch, lines=True)
    operator = SenseOperator(_csm(hr, batch, MAPS), mask, has_map_axis=True)
    return operator, (*batch, MAPS, *hr), (*batch, COILS, *shape)


def sense_hr_readout(shape, batch) -> Case:
    n_lr = (shape[1] + 1) // 2
    hr = (2 * shape[0], 2 * n_lr)
    operator = SenseOperator(_csm(hr, batch, 0), _mask(shape, batch), lr_shape=(shape[0], n_lr))
    return operator, (*batch, *hr), (*batch, COILS, *shape)


def sense_weighted(shape, batch) -> Case:
    hr = (2 * shape[0], 2 * shape[1])
    weights = 2 * _mask(shape, batch, lines=True) + 0.5
    return SenseOperator(_csm(hr, batch, 0), weights), (*batch, *hr), (*batch, COILS, *shape)


MAKERS = [
    fourier,
    coils,
    coils_two_maps,
    sampling,
    crop,
    cropped_fourier,
    pad,
    composed,
    sense,
    sense_lines,
    sense_two_maps,
    sense_hr,
    sense_hr_lines_two_maps,
    sense_hr_readout,
    sense_weighted,
]


@pytest.mark.parametrize("batch", BATCHES, ids=str)
@pytest.mark.parametrize("shape", SIZES, ids=str)
@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_laws(make, shape, batch):
    operator, domain, codomain = make(shape, batch)
    x, y = random_complex(*domain, seed=1), random_complex(*codomain, seed=2)
    assert_adjoint(operator, x, y)
    assert_linear(operator, x)
    assert_gram(operator, x)
    assert_gram(operator.H, y)
    assert_gradient_is_adjoint(operator, x, y)


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_operators_hold_no_weights(make):
    assert not make((8, 7), ())[0].state_dict()


@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_the_centre_of_an_hr_readout_is_a_scan_at_low_resolution(shape):
    wide, domain, codomain = sense_hr_readout(shape, (2,))
    x, y = random_complex(*domain, seed=1), random_complex(*codomain, seed=2)
    plain = SenseOperator(wide.csm, wide.low_resolution_kspace(wide.mask))
    assert_close(wide.low_resolution_kspace(wide(x)), plain(x))
    ours, theirs = wide.at_low_resolution(), plain.at_low_resolution()
    assert torch.equal(ours.csm, theirs.csm) and torch.equal(ours.mask, theirs.mask)
    assert wide.low_resolution_kspace(y).shape[-2:] == wide.lr_shape


def test_lr_grid_beyond_the_acquired_grid_is_refused():
    with pytest.raises(ValueError, match=r"LR grid \(8, 9\) exceeds acquired grid \(8, 7\)"):
        SenseOperator(_csm((16, 18), (), 0), _mask((8, 7), ()), lr_shape=(8, 9))


def test_gram_follows_maps_that_change_in_place():
    sense = SenseOperator(_csm((12, 10), (), 0), _mask((12, 10), ()))
    x = random_complex(12, 10, seed=1)
    sense.gram(x)
    sense.csm.mul_(2)
    assert_close(sense.gram(x), sense.adjoint(sense(x)))


def test_gram_follows_a_mask_that_changes_in_place():
    # From lines to samples: another filter, with and without a gradient.
    mask = _mask((12, 10), (), lines=True)
    sense = SenseOperator(_csm((12, 10), (), 0), mask)
    x = random_complex(12, 10, seed=1)
    sense.gram(x)
    mask[:, ::3] = 0
    assert_close(sense.gram(x), sense.adjoint(sense(x)))
    with_gradient = sense.gram(x.clone().requires_grad_())
    assert_close(with_gradient.detach(), sense.adjoint(sense(x)))


def test_operators_share_no_memory_with_arrays():
    csm, mask = _csm((12, 10), (), 0).numpy(), _mask((12, 10), ()).numpy()
    sense = SenseOperator(csm, mask)
    coils, sampling = CoilOperator(csm), SamplingOperator(mask)
    x = random_complex(12, 10, seed=1)
    gram, images = sense.gram(x), coils(x)
    kept = sampling(images)
    csm *= 2
    mask[:] = 1
    assert torch.equal(sense.gram(x), gram) and torch.equal(coils(x), images)
    assert torch.equal(sampling(images), kept)
    assert_close(gram, sense.adjoint(sense(x)))


@pytest.mark.parametrize(
    ("shape", "hint"),
    [
        ((12,), "write np.repeat(mask[:, None], n_kx, 1) for whole readout lines"),
        ((3, 12, 12), "write mask[..., None, :, :] for one mask per sample"),
        ((2, 3, 12, 12), "write mask[..., None, :, :] for one mask per sample"),
        ((), ""),
    ],
)
def test_masks_with_other_axes_are_refused(shape, hint):
    """As many masks as coils, or as many lines as samples, would broadcast without an error."""
    mask = np.ones(shape)
    text = f"mask is {shape}, expected (ky, kx) or (*batch, 1, ky, kx)"
    csm = _csm((12, 12), (3,), 0)
    for make in (SamplingOperator, lambda mask: SenseOperator(csm, mask)):
        with pytest.raises(ValueError, match=f"^{re.escape(text)}.*{re.escape(hint)}$"):
            make(mask)
    with pytest.raises(ValueError, match=rf"^mask is {re.escape(str(shape))}, expected \(ky, kx\)"):
        find_acs(mask)


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int64, np.float64])
def test_a_mask_of_any_real_kind_means_the_same(kind):
    csm, mask = _csm((16, 12), (), 0), _mask((8, 6), ())
    plain = SenseOperator(csm, mask)
    other = SenseOperator(csm.to(torch.complex128), mask.numpy().astype(kind))
    x, y = random_complex(16, 12, seed=1), random_complex(COILS, 8, 6, seed=2)
    for ours, theirs in ((other(x), plain(x)), (other.adjoint(y), plain.adjoint(y))):
        assert ours.dtype == torch.complex64 and torch.equal(ours, theirs)
    assert torch.equal(other.gram(x), plain.gram(x))
    assert torch.equal(other.mask, mask) and other.mask.dtype == torch.float32


def test_operators_share_the_tensors_of_their_kind():
    csm, mask = _csm((12, 10), (), 0), _mask((12, 10), ())
    sense = SenseOperator(csm, mask)
    assert sense.csm is csm and sense.mask is mask


@pytest.mark.parametrize(
    ("csm", "with_map_axis", "text"),
    [
        (np.ones((12, 10), np.complex64), False, "(12, 10), expected complex (..., coil, y, x)"),
        (np.ones((3, 12, 10)), False, "float64, expected complex (..., coil, y, x)"),
        (np.ones((3, 12, 10), int), False, "int64, expected complex (..., coil, y, x)"),
        (
            np.ones((3, 12, 10), complex),
            True,
            "(3, 12, 10), expected complex (..., map, coil, y, x)",
        ),
    ],
)
def test_maps_of_another_kind_or_without_coils_are_refused(csm, with_map_axis, text):
    mask = np.ones((12, 10))
    for make in (CoilOperator, lambda csm, **axes: SenseOperator(csm, mask, **axes)):
        with pytest.raises(ValueError, match=f"^csm is {re.escape(text)}$"):
            make(csm, has_map_axis=with_map_axis)


def test_a_complex_mask_is_refused():
    text = r"^mask is complex128, expected real numbers or bool: give abs\(mask\) > 0$"
    with pytest.raises(ValueError, match=text):
        SamplingOperator(np.ones((12, 10), complex))


@pytest.mark.parametrize(
    "write", [lambda m: np.repeat(m[:, None], 10, 1), lambda m: np.outer(m, np.ones(10))[None]]
)
def test_what_the_message_says_masks_lines(write):
    lines = np.arange(12) % 2
    y = random_complex(COILS, 12, 10)
    expected = y * torch.from_numpy(lines)[:, None]
    assert torch.equal(SamplingOperator(write(lines))(y), expected)
    masks = np.stack([write(lines).reshape(12, 10), write(1 - lines).reshape(12, 10)])
    made = SamplingOperator(masks[..., None, :, :])(torch.stack((y, y)))
    assert torch.equal(made, torch.stack((expected, y - expected)))


def test_mask_without_coil_axis_means_the_same():
    mask = _mask((8, 7), ())
    x = random_complex(4, COILS, 8, 7)
    assert torch.equal(SamplingOperator(mask)(x), SamplingOperator(mask[None, None])(x))


@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_sense_at_low_resolution_is_the_decimated_operator(shape):
    operator, _, codomain = sense_hr(shape, ())
    low = operator.at_low_resolution()
    assert low.kspace_shape == low.image_shape == shape
    assert torch.equal(low.csm, decimate(operator.csm, shape))
    assert low(random_complex(*shape)).shape == codomain
    assert low.at_low_resolution() is low


def test_errors_name_both_sides():
    with pytest.raises(ValueError, match=r"8, 8.*expects.*16, 12"):
        coils((16, 12), ())[0](random_complex(8, 8))
    with pytest.raises(ValueError, match=r"\(16, 16\) exceeds HR grid \(8, 8\)"):
        KSpaceCropOperator((8, 8), (16, 16))
    shape = r"^lr_shape is \(40, 48, 3\), expected \(y, x\), whole numbers of at least 1$"
    with pytest.raises(ValueError, match=shape):
        KSpaceCropOperator((80, 96), (40, 48, 3))
    with pytest.raises(ValueError, match=shape):
        SenseOperator(_csm((80, 96), (), 0), np.ones((40, 48)), lr_shape=(40, 48, 3))


@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_cropped_fourier_is_the_crop_of_the_whole_transform(shape):
    operator, domain, codomain = cropped_fourier(shape, (2,))
    x, y = random_complex(*domain, seed=1), random_complex(*codomain, seed=2)
    slow = operator.crop @ FourierOperator()
    assert_close(operator(x), slow(x))
    assert_close(operator.adjoint(y), slow.adjoint(y))


def test_composition_order():
    operator = composed((8, 7), ())[0]
    x = random_complex(COILS, 8, 7)
    assert_close(operator(x), operator.outer.mask * FourierOperator()(x))
