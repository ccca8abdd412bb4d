"""Conjugate gradient and power iteration against dense linear algebra."""

import numpy as np
import pytest
import torch

from jrsr_core.physics.sense import SenseOperator
from jrsr_core.physics.solvers import conjugate_gradient
from tests.laws import assert_close, random_complex

N = 24


def _matrices(batch: int, seed: int = 0):
    a = random_complex(batch, N, N, seed=seed, dtype=torch.complex128)
    weights = torch.tensor([1.0, 30.0, 0.01])[:batch, None, None]
    eye = torch.eye(N, dtype=a.dtype)
    return weights * (a @ a.mH / N + 0.3 * eye)


def _apply(matrices):
    return lambda x: (matrices @ x.reshape(-1, N, 1)).reshape(x.shape)


def test_equals_dense_solve():
    matrices = _matrices(3)
    rhs = random_complex(3, 4, 6, seed=1, dtype=torch.complex128)
    x, report = conjugate_gradient(_apply(matrices), rhs, n_iter=200, tolerance=1e-11)
    expected = torch.linalg.solve(matrices, rhs.reshape(3, N, 1)).reshape(rhs.shape)
    assert_close(x, expected, 1e-9)
    assert report.stopped_by == "tolerance"
    assert report.residual.max() <= 1e-11


def test_real_systems_too():
    matrix = _matrices(1)[0].real + 2 * torch.eye(N)
    rhs = torch.linspace(-1, 1, N, dtype=torch.float64).reshape(4, 6)
    x, _ = conjugate_gradient(_apply(matrix), rhs, n_iter=100, tolerance=1e-12)
    assert_close(x.flatten(), torch.linalg.solve(matrix, rhs.flatten()), 1e-9)


@pytest.mark.parametrize("n_iter", [1, 5, 60])
def test_batch_equals_every_sample_alone(n_iter):
    matrices = _matrices(3)
    rhs = random_complex(3, 4, 6, seed=1, dtype=torch.complex128)
    rhs = rhs * torch.tensor([1.0, 1e-3, 1e4])[:, None, None]
    together, _ = conjugate_gradient(_apply(matrices), rhs, n_iter=n_iter)
    for i in range(3):
        alone, _ = conjugate_gradient(_apply(matrices[i]), rhs[i : i + 1], n_iter=n_iter)
        # Same arithmetic in another batch size: equal up to the rounding of the matrix product.
        assert_close(together[i : i + 1], alone, 1e-10)


def test_a_known_product_of_the_start_saves_its_call():
    matrices, calls = _matrices(2), []
    rhs = random_complex(2, 4, 6, seed=1, dtype=torch.complex128)
    start = random_complex(2, 4, 6, seed=2, dtype=torch.complex128)

    def normal(x):
        calls.append(x)
        return _apply(matrices)(x)

    known = _apply(matrices)(start)
    short, _ = conjugate_gradient(normal, rhs, x0=start, normal_x0=known, n_iter=3)
    assert len(calls) == 3
    full, _ = conjugate_gradient(normal, rhs, x0=start, n_iter=3)
    assert len(calls) == 3 + 4
    assert torch.equal(short, full)


def test_converged_sample_is_left_as_it_is():
    matrices = _matrices(2)
    rhs = random_complex(2, 4, 6, seed=1, dtype=torch.complex128)
    solution = torch.linalg.solve(matrices, rhs.reshape(2, N, 1)).reshape(rhs.shape)
    start = torch.stack((solution[0], torch.zeros_like(solution[1])))
    x, report = conjugate_gradient(_apply(matrices), rhs, x0=start, n_iter=7, tolerance=1e-8)
    assert torch.equal(x[0], start[0])
    assert not torch.equal(x[1], start[1])
    assert report.stopped_by == "iterations" and report.iterations == 7


def test_exact_start_takes_no_iteration_and_zero_rhs_gives_zero():
    matrices = _matrices(2)
    rhs = torch.zeros(2, 4, 6, dtype=torch.complex128)
    x, report = conjugate_gradient(_apply(matrices), rhs)
    assert not x.any() and report.iterations == 0
    assert torch.isfinite(report.residual).all()


def test_negative_iterations_are_an_error():
    with pytest.raises(ValueError, match="n_iter is -1"):
        conjugate_gradient(lambda x: x, torch.ones(2, 2), n_iter=-1)


def test_a_right_hand_side_of_whole_numbers_is_refused():
    text = r"^rhs is int64, expected float or complex: convert it to complex64$"
    with pytest.raises(ValueError, match=text):
        conjugate_gradient(lambda x: x, np.ones((2, 2), int))


def test_map_sets_are_one_sample():
    """Maps that overlap couple the images of both sets: the solution needs n_dims=3."""
    csm = random_complex(2, 4, 12, 10, seed=2) / 2
    sense = SenseOperator(csm, torch.ones(12, 10), has_map_axis=True)
    image = random_complex(2, 12, 10, seed=4) * torch.tensor([1.0, 0.05]).reshape(2, 1, 1)
    rhs = sense.adjoint(sense(image))
    options = {"n_iter": 100, "tolerance": 1e-6}
    x, report = conjugate_gradient(sense.gram, rhs, n_dims=sense.n_image_dims, **options)
    assert sense.n_image_dims == 3 and report.stopped_by == "tolerance"
    assert_close(x, image, 1e-3)
    apart, _ = conjugate_gradient(sense.gram, rhs, **options)
    assert (sense.gram(apart) - rhs).norm() > 100 * (sense.gram(x) - rhs).norm()


def test_sense_normal_equations_reach_the_truth():
    csm = random_complex(2, 4, 12, 11, seed=2) / 2
    mask = (torch.rand(2, 1, 12, 11, generator=torch.Generator().manual_seed(3)) < 0.8).float()
    sense = SenseOperator(csm, mask)
    image = random_complex(2, 12, 11, seed=4)
    x, report = conjugate_gradient(
        sense.gram, sense.adjoint(sense(image)), n_iter=300, tolerance=1e-6
    )
    assert report.stopped_by == "tolerance"
    assert_close(x, image, 1e-3)
