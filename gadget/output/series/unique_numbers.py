"""Makes the numbers of the series of a scan, and of the images of a series, unique."""

import itertools
from collections.abc import Sequence


def unique_numbers(wanted: Sequence[int], lowest: int) -> list[int]:
    """Return the wanted numbers, with those too low or already taken replaced by higher ones.

    Other reconstructions leave the number of every image at 0, give all slices the same one, or
    exceed 16 bits and start again.
    """
    further = itertools.count(max([lowest - 1, *wanted]) + 1)
    taken: set[int] = set()
    numbers = []
    for number in wanted:
        own = number if number >= lowest and number not in taken else next(further)
        taken.add(own)
        numbers.append(own)
    return numbers
