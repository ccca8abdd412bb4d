"""Which images of a slice may share an ACS: those with the same axes.

Images of one slice may have a reversed or an exchanged phase encode. Their k-space has other axes,
and so has their ACS.
"""

from typing import NamedTuple

import numpy as np

from jrsr_core.data import Counters
from jrsr_core.data.geometry import AXIAL
from jrsr_core.mrd.lines.distinct import distinct_rows
from jrsr_core.mrd.lines.geometry import MIN_COSINE


class AcsKey(NamedTuple):
    """What images that share an ACS have in common.

    `axes` numbers the axes of the images of a slice, 0 where all have the same.
    """

    encoding: int
    slice: int
    axes: int = 0


KnownAxes = dict[tuple[int, int], list[np.ndarray]]
"""Readout and phase direction ``(2, 3)`` by (encoding space, slice), in the order of their
numbers."""


def acs_keys(
    heads: np.ndarray, groups: dict[Counters, np.ndarray], known: KnownAxes
) -> dict[Counters, AcsKey]:
    """Return the key of the ACS of every image.

    Parameters
    ----------
    heads
        Headers of all lines.
    groups
        Indices of the lines of every image.
    known
        Axes of images whose lines are gone (a running scan); those of `groups` are added.
    """
    firsts = heads[[lines[0] for lines in groups.values()]]
    directions = np.stack([firsts["read_dir"], firsts["phase_dir"]], axis=1).astype(np.float64)
    is_given = np.all(directions.any(axis=2), axis=1)
    directions[~is_given] = AXIAL[:2]
    table = [firsts["encoding_space_ref"], firsts["idx"]["slice"], *directions.reshape(-1, 6).T]
    rows, member, _ = distinct_rows(table)
    numbers = [
        _number(known.setdefault((int(row[0]), int(row[1])), []), row[2:].reshape(2, 3))
        for row in rows
    ]
    return {
        counters: AcsKey(*counters.slice_key, numbers[kind])
        for counters, kind in zip(groups, member.tolist(), strict=True)
    }


def _number(known: list[np.ndarray], axes: np.ndarray) -> int:
    """Return the number of these axes, which are added if they are not known."""
    axes = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    for number, others in enumerate(known):
        if ((axes * others).sum(axis=1) >= MIN_COSINE).all():
            return number
    known.append(axes)
    return len(known) - 1
