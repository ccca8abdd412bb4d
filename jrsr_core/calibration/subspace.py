"""Leading eigenvectors of a Hermitian matrix field G(r), given by its Fourier coefficients.

    G(r) = sum_d h(d) exp(-2 pi i d.(r - N//2) / N),     |d| <= k - 1 along each axis

1. coarse grid that spans the image: G^64 by repeated squaring, which leaves the leading vector;
   for several vectors a direct eigen-decomposition,
2. bilinear interpolation, along each axis (1 - w) V_0 + w V_1 (V_1^H V_0), which does not depend
   on the arbitrary phase (or basis) of the coarse solutions V,
3. two steps of orthogonal iteration V <- orth(G V) on the fine grid, the last one from the
   Ritz vectors of V.

G is band-limited by the kernel, not by the image, so the coarse grid has a fixed number of points.
Source: orthogonal iteration, Golub and Van Loan, Matrix Computations, section 7.3; the rest ours.
"""

import math

import torch
from torch import Tensor

COARSE_POINTS = 48
N_ITER = 2
N_SQUARINGS = 6
SMALL = 19
"""Up to 19 coils the loops by which PyTorch multiplies a batch of column vectors are fast."""
CHUNK_ELEMENTS = {"cpu": 2**18, "cuda": 2**26}
"""Complex numbers of G held at a time: what a CPU's cache has room for (2 MiB), 512 MiB on a GPU,
which needs large batches."""


def leading_eigenvectors(
    coefficients: Tensor, image_shape: tuple[int, int], n_vectors: int
) -> tuple[Tensor, Tensor]:
    """Return the leading eigenvectors and eigenvalues of G at every pixel.

    Parameters
    ----------
    coefficients
        h, complex64 ``(2ky - 1, 2kx - 1, coil, coil)``.
    image_shape
        ``(y, x)``.
    n_vectors
        How many, largest eigenvalue first.

    Returns
    -------
    vectors
        complex64 ``(n_vectors, coil, y, x)``, orthonormal at every pixel.
    eigenvalues
        float32 ``(n_vectors, y, x)``.
    """
    ny, nx = image_shape
    n_coils = coefficients.shape[-1]
    device = coefficients.device
    coarse = _coarse_vectors(_coarse_field(coefficients, image_shape), n_vectors)
    rows, columns = torch.arange(ny, device=device), torch.arange(nx, device=device)
    vectors = coarse.new_empty(ny, nx, n_coils, n_vectors)
    values = torch.empty(ny, nx, n_vectors, device=device)
    n_rows = max(1, CHUNK_ELEMENTS[device.type] // (nx * n_coils**2))
    for chunk in rows.split(n_rows):
        guess = _interpolate(coarse, chunk / (ny - 1), columns / (nx - 1))
        field = matrix_field(coefficients, (chunk - ny // 2) / ny, (columns - nx // 2) / nx)
        v, w = _orthogonal_iteration(field.flatten(0, 1), guess.flatten(0, 1))
        vectors[chunk] = v.unflatten(0, (len(chunk), nx))
        values[chunk] = w.unflatten(0, (len(chunk), nx))
    return vectors.permute(3, 2, 0, 1).contiguous(), values.permute(2, 0, 1).contiguous()


def has_two_above(coefficients: Tensor, image_shape: tuple[int, int], limit: float) -> bool:
    """Return whether two eigenvalues of G exceed `limit` at any point of the coarse grid."""
    field = _coarse_field(coefficients, image_shape).flatten(0, 1)
    # The trace, which is their sum, rules most points out.
    field = field[field.diagonal(dim1=-2, dim2=-1).real.sum(-1) > 2 * limit]
    return bool((torch.linalg.eigvalsh(field)[..., -2] > limit).any())


def _coarse_field(coefficients: Tensor, image_shape: tuple[int, int]) -> Tensor:
    y, x = (_coarse_positions(n).to(coefficients.device) / n for n in image_shape)
    return matrix_field(coefficients, y, x)


def matrix_field(coefficients: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Return G ``(y, x, coil, coil)`` at positions in fields of view, 0 at the centre."""
    n_y, n_x, n_coils, _ = coefficients.shape
    along_y = _phases(y, n_y) @ coefficients.flatten(1)
    along_y = along_y.unflatten(1, (n_x, n_coils**2))
    return (_phases(x, n_x) @ along_y).unflatten(-1, (n_coils, n_coils))


def _phases(position: Tensor, n_lags: int) -> Tensor:
    lags = torch.arange(n_lags, device=position.device) - n_lags // 2
    angle = -2 * math.pi * position.to(torch.float64)[:, None] * lags
    return torch.polar(torch.ones_like(angle), angle).to(torch.complex64)


def _coarse_positions(n: int) -> Tensor:
    """Pixel positions from the first to the last pixel, relative to the centre ``n//2``."""
    return torch.linspace(0, n - 1, min(n, COARSE_POINTS), dtype=torch.float64) - n // 2


def _coarse_vectors(field: Tensor, n_vectors: int) -> Tensor:
    """Return approximate leading eigenvectors ``(y, x, coil, m)`` of a field, for a start."""
    if n_vectors > 1:
        return torch.linalg.eigh(field)[1][..., -n_vectors:].flip(-1)
    power = _unit_norm(field)
    for _ in range(N_SQUARINGS):
        power = _unit_norm(power @ power)
    # All columns are multiples of the vector; the longest one is that of the largest diagonal.
    longest = power.diagonal(dim1=-2, dim2=-1).real.argmax(-1)[..., None, None]
    column = power.gather(-1, longest.expand(*power.shape[:-1], 1))
    return _orthonormal(column)


def _unit_norm(field: Tensor) -> Tensor:
    # Not by the trace: without signal in any coil, rounding can make it negative.
    length = torch.linalg.vector_norm(torch.view_as_real(field), dim=(-3, -2, -1))
    return field / length.clamp_min(torch.finfo(length.dtype).tiny)[..., None, None]


def _interpolate(coarse: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Bilinear interpolation of subspaces ``(y, x, coil, m)`` at fractions 0..1 of the grid."""
    return _between(_between(coarse, y).transpose(0, 1), x).transpose(0, 1)


def _between(bases: Tensor, fraction: Tensor) -> Tensor:
    """Linear interpolation along the first axis: (1 - w) V_0 + w V_1 (V_1^H V_0)."""
    left, weight = _split(fraction, len(bases))
    near, far = bases[left], bases[left + 1]
    weight = weight.reshape(-1, 1, 1, 1)
    return (1 - weight) * near + weight * _turned(far, near)


def _turned(basis: Tensor, to: Tensor) -> Tensor:
    """``basis (basis^H to)``; for single vectors without small matrix products."""
    if basis.shape[-1] > 1:
        return basis @ (basis.mH @ to)
    return basis * (basis.conj() * to).sum(-2, keepdim=True)


def _split(fraction: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Index of the left neighbour and weight of the right one."""
    position = fraction * (n - 1)
    left = position.floor().long().clamp(0, max(n - 2, 0))
    return left, (position - left).to(torch.float32)


def _orthogonal_iteration(field: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """Polish `start` ``(pixel, coil, m)``; returns unit vectors and eigenvalues ``(pixel, m)``.

    The eigenvalues are those of V^H G V before the last step: their error is the square of that of
    the vectors, and they cost no product of their own.
    """
    v = _orthonormal(start)
    for _ in range(N_ITER - 1):
        v = _orthonormal(_product(field, v))
    product, values = _ritz(v, _product(field, v))
    return _orthonormal(product), values


def _ritz(v: Tensor, product: Tensor) -> tuple[Tensor, Tensor]:
    """Rayleigh-Ritz: turn G V to the eigenvectors of V^H G V, largest first; the eigenvalues."""
    ritz = v.mH @ product
    if v.shape[-1] == 1:
        return product, ritz[..., 0].real
    values, rotation = torch.linalg.eigh(ritz)
    return product @ rotation.flip(-1), values.flip(-1)


def _product(field: Tensor, v: Tensor) -> Tensor:
    """G V as (V^H G)^H: batches of row vectors are several times faster than columns."""
    return (v.mH @ field).mH.resolve_conj() if v.shape[-2] > SMALL else field @ v


def _orthonormal(v: Tensor) -> Tensor:
    """Orthonormalise the last axis by Gram-Schmidt; m is too small for a QR call per pixel."""
    columns: list[Tensor] = []
    for column in v.unbind(-1):
        for done in columns:
            column = column - done * (done.conj() * column).sum(-1, keepdim=True)
        length = torch.view_as_real(column).square().sum((-2, -1))[..., None].sqrt()
        columns.append(column / length.clamp_min(torch.finfo(length.dtype).tiny))
    return torch.stack(columns, -1)
