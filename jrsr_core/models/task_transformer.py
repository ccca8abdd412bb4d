"""T2Net's task transformer: super-resolution features ask, reconstruction features answer.

With 3x3 patches q_i of the SR features and k_j, v_j of the reconstruction features (K = V),

    s_i = max_j <q_i, k_j> / (|q_i| |k_j|),    h_i = its arg-max,    T = fold(v_(h_i)) / 9
    out = x + s * conv1([x, T])                                   (Feng et al., MICCAI 2021)

The similarity of all pairs has (y x)^2 entries: 0.9 GB for 128 x 116. Only its maximum is used, so
the arg-max is sought chunk by chunk without a graph, and the similarity of the chosen pairs alone
is computed with one. That is exact, gradient included: a maximum passes its gradient to the entry
it took. Features of the chosen pairs are made again in the backward pass instead of being kept.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

CHUNK = 1 << 24
"""Similarities held at a time, 64 MiB."""


def patches(x: Tensor) -> Tensor:
    """3x3 patches ``(batch, 9 channels, y x)`` of ``(batch, channels, y, x)``, zeros outside."""
    return functional.unfold(x, 3, padding=1)


def most_similar(query: Tensor, key: Tensor, chunk: int = CHUNK) -> Tensor:
    """Index of the most similar column of `key` for every column of `query`, ``(batch, n)``.

    Both are ``(batch, values, n)``; their columns have unit length.
    """
    n_columns = max(1, chunk // (key.shape[0] * key.shape[-1]))
    parts = [(part.mT @ key).argmax(-1) for part in query.split(n_columns, -1)]
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
        """Return the SR features with what the reconstruction knows."""
        with torch.no_grad():
            query, key = (functional.normalize(patches(v), dim=1) for v in (x, reconstruction))
            index = most_similar(query, key)
            del query, key
        if torch.is_grad_enabled():
            score, texture = checkpoint(transfer, x, reconstruction, index, use_reentrant=False)
        else:
            score, texture = transfer(x, reconstruction, index)
        return x + score * self.merge(torch.cat((x, texture), 1))
