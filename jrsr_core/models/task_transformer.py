"""T2Net's task transformer: attention from super-resolution to reconstruction features.

With 3x3 patches q_i of the SR features and k_j, v_j of the reconstruction features (K = V),

    s_i = max_j <q_i, k_j> / (|q_i| |k_j|),    h_i = its arg-max,    T = fold(v_(h_i)) / 9
    out = x + s * conv1([x, T])                                   (Feng et al., MICCAI 2021)

The similarity of all pairs has (y x)^2 entries: 0.9 GB for 128 x 116. Only its maximum is used, so
the arg-max is sought without a graph, some rows against some rows at a time, and the similarity of
the chosen pairs alone is computed with one. That is exact, gradient included: a maximum passes its
gradient to the entry it took. Features of the chosen pairs are made again in the backward pass
instead of being kept. Two patches are multiplied by multiplying their pixels,

    <q_i, k_j> = sum over the 9 shifts d of <x_(i + d), y_(j + d)>

so all pixels are multiplied once and the products summed along x and y: a ninth of the
multiplications.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

CHUNK = {"cpu": 1 << 21, "cuda": 1 << 26}
"""Similarities held at a time: few enough for the cache of a CPU, enough to fill a GPU."""


def patches(x: Tensor) -> Tensor:
    """Return the 3x3 patches ``(batch, 9 channels, y x)`` of an array, zeros outside."""
    return functional.unfold(x, 3, padding=1)


def patch_products(x: Tensor, y: Tensor) -> Tensor:
    """Return <q_i, k_j> of all 3x3 patches of `x` and `y` but those around their outer rows.

    ``(batch, channels, rows + 2, nx)`` both, rows may differ -> ``(batch, rows, nx, rows, nx)``;
    zeros lie beside them.
    """
    products = (x.flatten(2).mT @ y.flatten(2)).unflatten(2, y.shape[-2:])
    products = products.unflatten(1, x.shape[-2:])
    along_x = products.clone()
    along_x[:, :, 1:, :, 1:] += products[:, :, :-1, :, :-1]
    along_x[:, :, :-1, :, :-1] += products[:, :, 1:, :, 1:]
    along_y = along_x[:, 1:-1, :, 1:-1] + along_x[:, :-2, :, :-2]
    along_y += along_x[:, 2:, :, 2:]
    return along_y


def rows_most_similar(x: Tensor, y: Tensor, length: Tensor, n_rows: int) -> Tensor:
    """Return the patch of `y` most similar to each in some rows of `x`, ``(batch, rows nx)``.

    Both have a row more above and below; `length` of the patches of `y` ``(batch, ny, nx)``.
    """
    scores, found = [], []
    for row in range(0, length.shape[1], n_rows):
        products = patch_products(x, y[:, :, row : row + n_rows + 2])
        products /= length[:, None, None, row : row + n_rows]
        score, index = products.flatten(3).flatten(1, 2).max(-1)
        scores.append(score)
        found.append(index + row * length.shape[2])
    best = torch.stack(scores).argmax(0, keepdim=True)
    return torch.stack(found).gather(0, best)[0]


def most_similar(x: Tensor, y: Tensor, chunk: int | None = None) -> Tensor:
    """Return the index of the patch of `y` most similar to each of `x`, ``(batch, ny nx)``.

    Both are ``(batch, channels, ny, nx)``. Patches of `x` are not divided by their length, which
    does not change the arg-max. Computed in float32: bfloat16 would not distinguish near ones.
    """
    batch, _, ny, nx = y.shape
    n_rows = max(1, math.isqrt((chunk or CHUNK[y.device.type]) // (batch * nx**2)) - 2)
    with torch.autocast(y.device.type, enabled=False):
        x, y = x.float(), y.float()
        length = patches(y).norm(dim=1).clamp_min(1e-12).unflatten(-1, (ny, nx))
        x, y = (functional.pad(v, (0, 0, 1, 1)) for v in (x, y))
        parts = [
            rows_most_similar(x[:, :, row : row + n_rows + 2], y, length, n_rows)
            for row in range(0, ny, n_rows)
        ]
    return torch.cat(parts, -1)


def transfer(query: Tensor, key: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Return s ``(batch, 1, y, x)`` and T ``(batch, channels, y, x)`` for the chosen pairs."""
    shape = (query.shape[-2], query.shape[-1])
    values = patches(key)
    chosen = index[:, None].expand(-1, values.shape[1], -1)
    values = values.gather(-1, chosen)
    # v = k: the key of a pair is its value on unit length.
    similarity = functional.normalize(patches(query), dim=1) * functional.normalize(values, dim=1)
    score = similarity.sum(1, keepdim=True).unflatten(-1, shape)
    return score, functional.fold(values, shape, 3, padding=1) / 9


class TaskTransformer(nn.Module):
    """x ``(batch, features, y, x)`` and reconstruction features of its shape -> the same shape."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.merge = nn.Conv2d(2 * features, features, 1)

    def forward(self, x: Tensor, reconstruction: Tensor) -> Tensor:
        """Return the SR features with the texture of the reconstruction features added."""
        with torch.no_grad():
            index = most_similar(x, reconstruction)
        if torch.is_grad_enabled():
            score, texture = checkpoint(transfer, x, reconstruction, index, use_reentrant=False)
        else:
            score, texture = transfer(x, reconstruction, index)
        return x + score * self.merge(torch.cat((x, texture), 1))
