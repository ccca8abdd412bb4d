"""Fixed points of linear contractions, where the answer is a matrix inverse."""

import pytest
import torch

from jrsr_core.models.fixed_point import (
    BackwardSettings,
    FixedPointSettings,
    differentiable,
    solve_fixed_point,
)


def contraction(n, radius, seed=0):
    """Symmetric matrix of spectral radius `radius`."""
    generator = torch.Generator().manual_seed(seed)
    q = torch.linalg.qr(torch.randn(n, n, dtype=torch.float64, generator=generator))[0]
    values = torch.linspace(-radius, radius, n, dtype=torch.float64)
    return q @ torch.diag(values) @ q.T


@pytest.fixture
def problem():
    matrix = contraction(12, 0.95)
    offset = torch.randn(3, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def step(x):
        return (x.flatten(1) @ matrix.T).reshape(x.shape) + offset

    exact = torch.linalg.solve(torch.eye(12, dtype=torch.float64) - matrix, offset.flatten(1).T)
    return step, exact.T.reshape(offset.shape), offset


@pytest.mark.parametrize("solver", ["picard", "anderson"])
def test_converges_to_the_exact_solution(problem, solver):
    step, exact, offset = problem
    settings = FixedPointSettings(solver, n_iter=600, tolerance=1e-10)
    x, report = solve_fixed_point(step, torch.zeros_like(offset), settings)
    assert report.stopped_by == "tolerance"
    assert torch.allclose(x, exact, atol=1e-7)


def test_anderson_beats_picard(problem):
    step, _, offset = problem
    needed = {}
    for solver in ("picard", "anderson"):
        settings = FixedPointSettings(solver, n_iter=600, tolerance=1e-8)
        _, report = solve_fixed_point(step, torch.zeros_like(offset), settings)
        needed[solver] = report.iterations
    assert needed["anderson"] < needed["picard"] / 3


def test_every_sample_has_its_own_residual(problem):
    step, exact, offset = problem
    start = torch.zeros_like(offset)
    start[0] = exact[0]
    _, report = solve_fixed_point(step, start, FixedPointSettings("picard", n_iter=1))
    residual = report.residual.flatten()
    assert residual[0] < 1e-10 < residual[1]


def test_batch_equals_single_samples():
    # Anderson weights are per sample, so a neighbour must not change a result.
    matrix = contraction(12, 0.9, seed=3)
    offset = torch.randn(2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    offset[1] *= 100
    settings = FixedPointSettings("anderson", n_iter=6, tolerance=0.0)

    def solve(c):
        def step(x):
            return (x.flatten(1) @ matrix.T).reshape(x.shape) + c

        return solve_fixed_point(step, torch.zeros_like(c), settings)[0]

    assert torch.allclose(solve(offset)[:1], solve(offset[:1]), atol=1e-9)


def test_a_diverging_map_returns_its_best_iterate():
    def step(x):
        return 3 * x + 1

    x, report = solve_fixed_point(
        step, torch.zeros(1, 2, 2), FixedPointSettings("picard", n_iter=200, tolerance=1e-6)
    )
    assert torch.isfinite(x).all()
    assert report.stopped_by == "iterations"
    assert float(report.residual.max()) <= 1.0


def test_complex_images_converge():
    factor = torch.tensor(0.5 + 0.3j)

    def step(x):
        return factor * x + 1

    x, _ = solve_fixed_point(
        step, torch.zeros(2, 3, 3, dtype=torch.complex64), FixedPointSettings()
    )
    assert torch.allclose(x, 1 / (1 - factor) * torch.ones_like(x), atol=1e-3)


def linear_problem():
    """x* = (I - M(w))^(-1) c with M = w B: the exact gradient in closed form."""
    matrix = contraction(12, 0.6, seed=5)
    offset = torch.randn(12, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    weights = torch.rand(12, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    weights = (0.5 + 0.5 * weights).requires_grad_()

    def step(x):
        return weights * (matrix @ x) + offset

    exact = torch.linalg.solve(torch.eye(12) - weights[:, None] * matrix, offset)
    (gradient,) = torch.autograd.grad((exact - 1).square().sum(), weights)
    return step, weights, exact.detach(), gradient


def gradient_of(settings, problem):
    step, weights, exact, _ = problem
    x = differentiable(step, exact, settings, n_dims=1)
    return torch.autograd.grad((x - 1).square().sum(), weights)[0]


def test_jacobian_free_gradient_points_like_the_exact_one():
    problem = linear_problem()
    free, exact = gradient_of(BackwardSettings("jfb"), problem), problem[-1]
    assert float(torch.nn.functional.cosine_similarity(free, exact, dim=0)) > 0.8
    # Not the same thing: the test would be empty if J had no influence.
    assert not torch.allclose(free, exact, rtol=1e-2)


def test_implicit_gradient_is_exact():
    problem = linear_problem()
    settings = BackwardSettings("implicit", solver=FixedPointSettings(n_iter=200, tolerance=1e-12))
    assert torch.allclose(gradient_of(settings, problem), problem[-1], rtol=1e-8)


def test_neumann_gradient_comes_closer_with_every_term():
    problem = linear_problem()
    errors = [
        float((gradient_of(BackwardSettings("neumann", n_terms=k), problem) - problem[-1]).norm())
        for k in (1, 3, 10, 40)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-6 * float(problem[-1].norm())


def test_implicit_gradient_of_complex_images():
    # x* = c / (1 - a): dL/da of |x* - 1|^2 against differentiating the closed form.
    a = torch.tensor(0.5 + 0.3j, dtype=torch.complex128, requires_grad=True)
    c = torch.randn(2, 3, 3, dtype=torch.complex128)
    (exact,) = torch.autograd.grad((c / (1 - a) - 1).abs().square().sum(), a)
    settings = BackwardSettings("implicit", solver=FixedPointSettings(n_iter=200, tolerance=1e-12))
    x = differentiable(lambda x: a * x + c, (c / (1 - a)).detach(), settings)
    (found,) = torch.autograd.grad((x - 1).abs().square().sum(), a)
    assert torch.allclose(found, exact, rtol=1e-8)


@pytest.mark.parametrize("bad", [{"method": "exact"}, {"n_terms": 0}])
def test_backward_settings_refuse_nonsense(bad):
    with pytest.raises(ValueError, match=r"backward|n_terms"):
        BackwardSettings(**bad)


@pytest.mark.parametrize("bad", [{"solver": "newton"}, {"n_iter": 0}, {"memory": 0}])
def test_settings_refuse_nonsense(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        FixedPointSettings(**bad)
