"""Fast ways against the slow ones they stand for."""

import pytest
import torch

from jrsr_core.calibration.espirit import (
    calibration_matrix,
    espirit_maps,
    gram_coefficients,
    row_space_kernels,
)
from jrsr_core.calibration.subspace import matrix_field
from jrsr_core.models.fixed_point import FixedPointSettings
from jrsr_core.models.rec import RecConfig, RecModule
from jrsr_core.physics.fourier import fft2c
from jrsr_core.physics.resolution import crop_or_pad
from jrsr_core.physics.sense import SenseOperator
from tests.helpers.synthetic import coil_profiles, grid, line_mask, scan
from tests.laws import assert_close, random_complex

CASES = [(12, (128, 116)), (8, (63, 57)), (32, (64, 58)), (1, (32, 33))]


def _slow_maps(acs, shape, crop=0.9):
    """SVD in double precision, an eigen-decomposition at every pixel."""
    windows = calibration_matrix(acs, (6, 6)).to(torch.complex128)
    u, s, _ = torch.linalg.svd(windows, full_matrices=False)
    kernels = u[:, s > 0.02 * s[0]].mT.reshape(-1, len(acs), 6, 6).to(torch.complex64)
    y, x = grid(shape)
    field = matrix_field(gram_coefficients(kernels), y[:, 0], x[0])
    values, vectors = torch.linalg.eigh(field)
    maps = vectors[..., -1].permute(2, 0, 1) * (values[..., -1] > crop)
    return maps, values[..., -1]


@pytest.mark.parametrize(("n_coils", "shape"), CASES, ids=str)
def test_espirit_equals_the_slow_one(n_coils, shape):
    kspace, _, inside, _ = scan(n_coils, shape, 40)
    acs = crop_or_pad(kspace, (24, 24))
    maps, eigenvalues = espirit_maps(acs, shape)
    slow, slow_eigenvalues = _slow_maps(acs, shape)
    support, slow_support = maps.abs().sum(0) > 0, slow.abs().sum(0) > 0
    assert (support != slow_support).sum() <= 0.005 * slow_support.sum()
    overlap = (maps.conj() * slow).sum(0).abs()[support & slow_support]
    assert overlap.mean() > 0.999
    assert (eigenvalues - slow_eigenvalues).abs()[inside].max() < 1e-3


def test_maps_of_a_single_point_are_finite():
    # Its row space is tiny: away from the coils G is nothing but rounding.
    csm = coil_profiles(4, (48, 56))
    image = torch.zeros(48, 56)
    image[30, 18] = 1.0
    maps, _ = espirit_maps(crop_or_pad(fft2c(csm * image), (24, 24)), (96, 112), kernel_width=4)
    assert torch.isfinite(torch.view_as_real(maps)).all()


@pytest.mark.parametrize("threshold", [0.02, 0.01, 1e-3])
def test_row_space_is_that_of_the_singular_values(threshold):
    acs = crop_or_pad(scan(6, (64, 64), 30)[0], (24, 24))
    acs = acs / acs.abs().max()
    kernels = row_space_kernels(acs, (6, 6), threshold).flatten(1).T
    u, s, _ = torch.linalg.svd(
        calibration_matrix(acs, (6, 6)).to(torch.complex128), full_matrices=False
    )
    u = u[:, s > threshold * s[0]].to(torch.complex64)
    assert kernels.shape == u.shape
    assert_close(kernels @ kernels.mH, u @ u.mH, 2e-3)


def _image_grid(acquired, kind):
    """The acquired grid, one with an HR readout, or a fully HR one of the other parity."""
    ny, nx = acquired
    return {"lr": (ny, nx), "hr readout": (2 * ny, nx), "hr": (2 * ny + 1, 2 * nx)}[kind]


def _point_mask(shape, seed=0):
    return (random_complex(*shape, seed=seed).real > 0).float()


@pytest.mark.parametrize("make_mask", [lambda s, i: line_mask(s, 2, 4, i), _point_mask])
@pytest.mark.parametrize("kind", ["lr", "hr readout", "hr"])
@pytest.mark.parametrize("acquired", [(16, 14), (15, 13)], ids=str)
@pytest.mark.parametrize("n_maps", [None, 2], ids=str)
@pytest.mark.parametrize("has_masks", [False, True], ids=["one mask", "mask per sample"])
def test_gram_is_adjoint_times_forward(acquired, kind, make_mask, n_maps, has_masks):
    shape = _image_grid(acquired, kind)
    csm = random_complex(*filter(None, (3, n_maps, 5, *shape)))
    mask = make_mask(acquired, 0)
    if has_masks:
        mask = torch.stack([make_mask(acquired, seed) for seed in range(3)])[:, None]
    sense = SenseOperator(csm, mask, has_map_axis=n_maps is not None)
    x = random_complex(*filter(None, (3, n_maps, *shape)), seed=1)
    expected = sense.adjoint(sense(x))
    untouched = x.clone()
    with torch.no_grad():
        for _ in range(2):
            assert_close(sense.gram(x), expected)
    assert torch.equal(x, untouched)
    with_gradient = sense.gram(x.clone().requires_grad_())
    assert with_gradient.requires_grad
    assert_close(with_gradient.detach(), expected)


def test_gram_of_lines_after_inference_mode_still_has_a_gradient():
    sense = SenseOperator(random_complex(1, 4, 16, 14), line_mask((16, 14), 2, 4))
    x = random_complex(1, 16, 14, seed=1)
    with torch.inference_mode():
        sense.gram(x)
    x.requires_grad_()
    y = random_complex(1, 16, 14, seed=2)
    (gradient,) = torch.autograd.grad(sense.gram(x), x, y)
    assert_close(gradient, sense.gram(y))


def test_rec_from_its_start_ends_where_it_does_from_the_adjoint():
    kspace, csm, *_ = scan(6, (48, 44))
    mask = line_mask((48, 44), 2, 12)
    sense = SenseOperator(csm[None], mask)
    zero_filled = sense.adjoint((kspace * mask)[None])
    rec = RecModule(RecConfig(8, 4)).eval()
    rec.evaluation = FixedPointSettings(tolerance=1e-5, n_iter=100, memory=8)
    with torch.no_grad():
        near, report = rec(zero_filled, sense)
        far, far_report = rec(zero_filled, sense, x0=zero_filled)
    assert report.iterations < far_report.iterations
    assert_close(near, far, 2e-3)
