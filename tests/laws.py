"""What every linear operator has to obey, as assertions."""

import torch
from torch import Tensor

from jrsr_core.physics.operator import LinearOperator

TOLERANCE = 1e-5


def random_complex(*shape: int, seed: int = 0, dtype: torch.dtype = torch.complex64) -> Tensor:
    """Complex Gaussian noise, E|n|^2 = 1, from a seed."""
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def assert_close(a: Tensor, b: Tensor, tolerance: float = TOLERANCE) -> None:
    """Relative l2 distance, and equal shapes."""
    assert a.shape == b.shape, (a.shape, b.shape)
    scale = torch.linalg.vector_norm(b).item() + 1e-30
    assert torch.linalg.vector_norm(a - b).item() <= tolerance * scale


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return torch.vdot(a.flatten().to(torch.complex128), b.flatten().to(torch.complex128))


def assert_adjoint(operator: LinearOperator, x: Tensor, y: Tensor) -> None:
    """<A x, y> = <x, A^H y>; A maps the space of x to that of y, A^H back; A.H is A^H."""
    forward, backward = operator(x), operator.adjoint(y)
    assert forward.shape == y.shape, (forward.shape, y.shape)
    assert backward.shape == x.shape, (backward.shape, x.shape)
    assert forward.dtype == y.dtype and backward.dtype == x.dtype
    scale = torch.linalg.vector_norm(forward) * torch.linalg.vector_norm(y)
    assert (_dot(forward, y) - _dot(x, backward)).abs() <= TOLERANCE * scale
    assert torch.equal(operator.H(y), backward)
    assert torch.equal(operator.H.adjoint(x), forward)


def assert_linear(operator: LinearOperator, x: Tensor) -> None:
    """A (a x + b z) = a A x + b A z for complex a, b; A 0 = 0."""
    z = random_complex(*x.shape, seed=91)
    a, b = 0.3 - 1.2j, -0.7 + 0.4j
    assert_close(operator(a * x + b * z), a * operator(x) + b * operator(z))
    assert not operator(torch.zeros_like(x)).any()


def assert_gram(operator: LinearOperator, x: Tensor) -> None:
    """gram(x) = A^H A x."""
    assert_close(operator.gram(x), operator.adjoint(operator(x)))


def assert_gradient_is_adjoint(operator: LinearOperator, x: Tensor, y: Tensor) -> None:
    """The gradient of |A x - y|^2 / 2 by autograd is A^H (A x - y)."""
    x = x.clone().requires_grad_()
    residual = operator(x) - y
    (gradient,) = torch.autograd.grad(0.5 * residual.abs().square().sum(), x)
    assert_close(gradient, operator.adjoint(residual.detach()))
