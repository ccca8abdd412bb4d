"""Linear operators: pure maps with an adjoint, composed with ``@``.

Operators are `torch.nn.Module` so that their tensors move with ``.to(device)``; these are
non-persistent buffers, so a model that holds an operator never stores maps or masks in its weights.
"""

import torch
from torch import Tensor, nn


class LinearOperator(nn.Module):
    """y = A x. Subclasses give `forward` and `adjoint`, and `gram` where a closed form exists."""

    def forward(self, x: Tensor) -> Tensor:
        """Return A x."""
        raise NotImplementedError

    def adjoint(self, y: Tensor) -> Tensor:
        """Return A^H y, with <A x, y> = <x, A^H y>."""
        raise NotImplementedError

    def gram(self, x: Tensor) -> Tensor:
        """Return A^H A x."""
        return self.adjoint(self.forward(x))

    def _facts(self) -> str:
        """Return what the `repr` says of the operator."""
        return ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._facts()})"

    @property
    def H(self) -> "LinearOperator":
        """The adjoint operator."""
        return AdjointOperator(self)

    def __matmul__(self, other: "LinearOperator") -> "LinearOperator":
        """Return the composition: ``(A @ B)(x) = A(B(x))``."""
        return ComposedOperator(self, other)


class AdjointOperator(LinearOperator):
    """A^H as an operator of its own."""

    def __init__(self, operator: LinearOperator) -> None:
        super().__init__()
        self.operator = operator

    def __repr__(self) -> str:
        return f"{self.operator!r}.H"

    def forward(self, x: Tensor) -> Tensor:
        """Return A^H x."""
        return self.operator.adjoint(x)

    def adjoint(self, y: Tensor) -> Tensor:
        """Return A y."""
        return self.operator(y)


class ComposedOperator(LinearOperator):
    """A B, whose Gram operator is B^H (A^H A) B."""

    def __init__(self, outer: LinearOperator, inner: LinearOperator) -> None:
        super().__init__()
        self.outer = outer
        self.inner = inner

    def __repr__(self) -> str:
        return f"{self.outer!r} @ {self.inner!r}"

    def forward(self, x: Tensor) -> Tensor:
        """Return A B x."""
        return self.outer(self.inner(x))

    def adjoint(self, y: Tensor) -> Tensor:
        """Return B^H A^H y."""
        return self.inner.adjoint(self.outer.adjoint(y))

    def gram(self, x: Tensor) -> Tensor:
        """Return B^H (A^H A) B x."""
        return self.inner.adjoint(self.outer.gram(self.inner(x)))


def check_shape(name: str, got: torch.Size, expected: tuple[int, ...]) -> None:
    """Raise a ValueError that names both sides if the last axes differ."""
    if tuple(got[-len(expected) :]) != tuple(expected):
        raise ValueError(f"{name} is {tuple(got)}, the operator expects (..., {expected})")
