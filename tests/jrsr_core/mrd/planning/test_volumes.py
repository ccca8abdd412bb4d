"""Volumes that lack slices: those of an aborted scan, and no others."""

import pytest

from jrsr_core.data import Counters
from jrsr_core.mrd.planning.volumes import incomplete_volumes


def volume(slices, **counters):
    return [Counters(slice=s, **counters) for s in slices]


def test_the_last_repetition_of_an_aborted_scan_is_incomplete():
    whole = volume(range(12), repetition=0) + volume(range(12), repetition=1)
    part = volume(range(4), repetition=2)
    note = "repetition 2 is incomplete: 4 of 12 slices or slabs were measured"
    assert incomplete_volumes([*whole, *part]) == dict.fromkeys(part, note)


def test_a_volume_is_named_by_the_counters_that_differ():
    images = [
        image
        for repetition in range(2)
        for contrast in range(2)
        for image in volume(range(3), contrast=contrast, repetition=repetition, set=5)
    ]
    expected = "contrast 1, repetition 1 is incomplete: 2 of 3 slices or slabs were measured"
    assert set(incomplete_volumes(images[:-1]).values()) == {expected}


@pytest.mark.parametrize(
    "images",
    [
        [],
        volume(range(5)),
        volume(range(5), repetition=0) + volume(range(5), repetition=1),
        # None has every slice: volumes that are measured in turns.
        volume([0, 2, 4], set=0) + volume([1, 3], set=1),
        # Another encoding space is another image.
        volume(range(5)) + volume([0], encoding=1),
    ],
)
def test_others_are_complete(images):
    assert incomplete_volumes(images) == {}
