"""Scans that wait for their next visit, grouped by shape.

Scans of one batch have one shape and one number of coils: those of a bucket. A scan that comes in
is visited `max_visits` times at most; where the workers keep up it gives way earlier, to a fresh
one. Nothing is padded, and a bucket with fewer scans than a batch waits until it has enough.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

ScanTensors = dict[str, Tensor]


@dataclass(eq=False)
class _Pooled:
    name: str
    scan: ScanTensors
    visits: int = 0


def shape_of(scan: ScanTensors) -> tuple[int, ...]:
    """Return what scans of one batch have in common: coils and matrices."""
    return (*scan["kspace"].shape[1:4], *scan["target"].shape[1:3])


class ScanPool:
    """The scans at hand; `made` and `visits` count all that came in and all visits."""

    def __init__(self, batch: int, max_visits: int, capacity: int, seed: int = 0) -> None:
        self.batch, self.max_visits, self.capacity = batch, max_visits, capacity
        self.made = self.visits = 0
        self._buckets: dict[tuple[int, ...], list[_Pooled]] = {}
        self._generator = Generator().manual_seed(seed)

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))

    @property
    def reuse(self) -> float:
        """Visits per scan so far."""
        return self.visits / max(self.made, 1)

    def sizes(self) -> dict[tuple[int, ...], int]:
        """Return the number of scans in every bucket."""
        return {shape: len(scans) for shape, scans in self._buckets.items() if scans}

    @property
    def n_ready(self) -> int:
        """Scans in buckets that have enough of them for a batch."""
        return sum(n for n in self.sizes().values() if n >= self.batch)

    def has_room(self) -> bool:
        """Return whether a scan can come in: there is space, or one that was visited gives way."""
        return len(self) < self.capacity or self._most_visited() is not None

    def add(self, name: str, scan: ScanTensors) -> None:
        """Take a fresh scan; in a full pool the most visited one gives way."""
        if len(self) >= self.capacity and (shape := self._most_visited()) is not None:
            bucket = self._buckets[shape]
            bucket.remove(max(bucket, key=lambda pooled: pooled.visits))
        self._buckets.setdefault(shape_of(scan), []).append(_Pooled(name, scan))
        self.made += 1

    def take(self) -> list[tuple[str, ScanTensors]] | None:
        """Return the names and scans of a batch of one shape; None where no bucket has enough.

        The bucket is drawn by the visits that its scans have left, the scans are those with the
        fewest visits.
        """
        ready = [shape for shape, scans in self._buckets.items() if len(scans) >= self.batch]
        if not ready:
            return None
        left = [sum(self.max_visits - p.visits for p in self._buckets[shape]) for shape in ready]
        weights = torch.tensor(left, dtype=torch.float64)
        shape = ready[int(torch.multinomial(weights, 1, generator=self._generator))]
        bucket = self._buckets[shape]
        chosen = sorted(bucket, key=lambda pooled: pooled.visits)[: self.batch]
        for pooled in chosen:
            pooled.visits += 1
        self.visits += len(chosen)
        self._buckets[shape] = [p for p in bucket if p.visits < self.max_visits]
        return [(pooled.name, pooled.scan) for pooled in chosen]

    def _most_visited(self) -> tuple[int, ...] | None:
        """Return the bucket of the most visited scan; None where all are fresh."""
        most = {s: max(p.visits for p in scans) for s, scans in self._buckets.items() if scans}
        shape = max(most, key=lambda s: most[s], default=None)
        return shape if shape is not None and most[shape] > 0 else None
