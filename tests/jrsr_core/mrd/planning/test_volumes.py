"""Volumes that lack slices: those of an aborted scan, and no others."""

import pytest

from jrsr_core.data import Counters
from jrsr_core.mrd.header.encoding import Encoding
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


def stating(last):
    """Encoding spaces whose header states this number of the last slice."""
    maxima = {} if last is None else {"slice": last}
    sizes, fov = (1, 8, 8), (5.0, 8.0, 8.0)
    return (Encoding(sizes, sizes, fov, fov, counter_maxima=maxima),)


@pytest.mark.parametrize("n_repetitions", [1, 2])
def test_slices_between_others_that_no_volume_has_are_missing(n_repetitions):
    """As of interleaved slices, where the second half was aborted."""
    slices = [0, 2, 4, 6, 8, 1, 3]
    images = [i for n in range(n_repetitions) for i in volume(slices, repetition=n)]
    note = (
        "slices before the last one were not measured: 7 of 9 slices or slabs are there, the first "
        "one that is missing is slice 5"
    )
    assert incomplete_volumes(images, stating(8)) == dict.fromkeys(images, note)


def test_a_volume_that_lacks_more_than_all_others_has_its_own_note():
    whole, part = volume([0, 1, 3], repetition=0), volume([0, 1], repetition=1)
    notes = incomplete_volumes([*whole, *part], stating(3))
    assert {notes[i].partition(":")[0] for i in whole} == {
        "slices before the last one were not measured"
    }
    assert {notes[i].partition(" is")[0] for i in part} == {"repetition 1"}


@pytest.mark.parametrize(
    ("slices", "last"),
    [
        # The header is no proof: it states nothing, too many, or too few slices.
        ([0, 2, 4, 6, 8, 1, 3], None),
        ([0, 2, 4, 6, 8, 1, 3], 15),
        ([0, 2, 4, 6, 8, 1, 3], 7),
        (range(4), 8),
        # A selection, numbers that begin at 1, and one slice.
        (range(0, 9, 2), 8),
        (range(1, 9), 8),
        ([8], 8),
        ([], 8),
    ],
)
def test_slices_that_the_header_does_not_prove_are_not_missing(slices, last):
    assert incomplete_volumes(volume(slices), stating(last)) == {}
