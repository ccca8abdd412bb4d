"""A scan that is going on gives the same images as its file, in whatever pieces it comes."""

from dataclasses import replace

import numpy as np
import pytest

from jrsr_core.mrd.assembly.assemble import Assembler
from jrsr_core.mrd.errors import UnsupportedScan
from jrsr_core.mrd.lines.acquired import (
    CALIBRATION,
    LAST_IN_MEASUREMENT,
    LAST_IN_REPETITION,
    LAST_IN_SLICE,
    NOISE,
    REJECTED,
    flag_bits,
    has_flag,
)
from jrsr_core.mrd.live.live_scan import LiveScan
from jrsr_core.mrd.simulator.request import ScanRequest
from tests.helpers.live_scans import (
    assert_same,
    in_buckets,
    in_chunks,
    in_turn,
    live,
    of_the_file,
    simulated,
    with_last_flags,
)
from tests.helpers.mrd_scans import copied, joined, select

PLAIN = {"matrix": "48x64", "n_coils": 3, "acs": 12, "mask": "regular", "acceleration": 2}
SLAB = PLAIN | {"protocol": "wall-16x", "matrix": "48x40", "positions": 6, "acs": 10}
KINDS = {
    "plain": {},
    "slices": {"slices": 3},
    "interleaved slices": {"slices": 4, "order": "interleaved"},
    "by line": {"slices": 3, "order": "by-line"},
    "averages": {"averages": 3, "slices": 2},
    "averages by line": {"averages": 2, "slices": 2, "order": "by-line"},
    "contrasts": {"contrasts": 2, "slices": 2},
    "phases and sets": {"phases": 2, "sets": 2, "slices": 2},
    "repetitions": {"repetitions": 3, "slices": 2},
    "frames": {"calibration": "interleaved", "repetitions": 4, "slices": 2},
    "frames by line": {"calibration": "interleaved", "repetitions": 3, "order": "by-line"},
    "reference": {"calibration": "separate", "slices": 2, "repetitions": 2},
    "external reference": {"calibration": "external", "slices": 2},
    "3-D reference": {"calibration": "volume", "slices": 4},
    "no reference": {"calibration": "none", "slices": 2},
    "segments": {"segments": 3, "slices": 2},
    "partial": {"partial_fourier": 0.75, "partial_echo": 0.8, "slices": 2},
    "spare lines": {"spare_lines": True, "spare_encoding": True, "slices": 2},
    "no limits": {"limits": False, "slices": 2, "repetitions": 2},
    "two encodings": {"second_encoding": True, "slices": 2},
    "no noise": {"noise_scan": False},
}
SLABS = {
    "slab": {},
    "slab repetitions": {"repetitions": 2},
    "slab reference": {"calibration": "separate"},
    "slab averages": {"averages": 2},
}
REQUESTS = {k: ScanRequest(**PLAIN | v) for k, v in KINDS.items()}
REQUESTS |= {k: ScanRequest(**SLAB | v) for k, v in SLABS.items()}


@pytest.fixture(scope="module", params=REQUESTS)
def scan(request, tmp_path_factory):
    """Header, lines, and the images of the whole file."""
    header, lines = simulated(REQUESTS[request.param], tmp_path_factory.mktemp("live"))
    return header, lines, of_the_file(header, lines)


def assert_all_the_same(made, expected):
    assert set(made) == set(expected)
    for counters, image in expected.items():
        assert_same(made[counters], image)


@pytest.mark.parametrize(
    ("rule", "n", "at_end"),
    [
        ("slice", 1, False),
        ("slice", 1, True),
        ("slice", 10**6, False),
        ("repetition", 17, False),
        ("measurement", 17, False),
    ],
)
def test_lines_in_any_number(scan, rule, n, at_end):
    header, lines, expected = scan
    made, found = live(header, in_chunks(lines, n), rule, at_end=at_end)
    assert_all_the_same(made, expected)
    assert (found.n_lines, found.n_late) == (len(lines.heads), 0)


IMAGE = ("repetition", "slice", "contrast", "phase", "set", "average")
FLAGGED = {
    "slice of every image": (IMAGE, [LAST_IN_SLICE]),
    "repetition of every image": (IMAGE, [LAST_IN_REPETITION]),
    "both of every image": (IMAGE, [LAST_IN_SLICE, LAST_IN_REPETITION]),
    "both of every slice": (IMAGE[:2], [LAST_IN_SLICE, LAST_IN_REPETITION]),
    "repetition": (IMAGE[:1], [LAST_IN_REPETITION]),
    "measurement": ((), [LAST_IN_MEASUREMENT]),
}


@pytest.mark.parametrize("rule", ["slice", "repetition"])
@pytest.mark.parametrize(("counters", "flags"), FLAGGED.values(), ids=FLAGGED)
def test_images_in_turn_with_any_flags(scan, counters, flags, rule):
    header, lines, _ = scan
    lines = with_last_flags(header, in_turn(header, lines), counters, *flags)
    made, found = live(header, in_chunks(lines, 1), rule)
    assert_all_the_same(made, of_the_file(header, lines))
    assert found.n_late == 0


@pytest.mark.parametrize("rule", ["slice", "bucket"])
def test_buckets(scan, rule):
    header, lines, _ = scan
    buckets = in_buckets(lines)
    made, found = live(header, buckets, rule, buckets=True)
    # What a bucket does not bring has no part in the images of the file either.
    assert_all_the_same(made, of_the_file(header, joined(*buckets)))
    assert found.n_late == 0


@pytest.mark.parametrize("request_", [REQUESTS["contrasts"], REQUESTS["slab repetitions"]])
@pytest.mark.parametrize("kind", ["another gain", "signal"])
def test_wrong_noise_lines_are_treated_alike(request_, kind, tmp_path):
    header, lines = simulated(request_, tmp_path)
    is_noise = has_flag(lines.heads, NOISE)
    lines.data[:] = [wrong(d, kind) if n else d for d, n in zip(lines.data, is_noise, strict=True)]
    expected = of_the_file(header, lines)
    for rule, n in (("slice", 1), ("measurement", 17)):
        made, _ = live(header, in_chunks(lines, n), rule)
        assert_all_the_same(made, expected)
    held = [any("hold signal" in note for note in image.notes) for image in expected.values()]
    assert held == [kind == "signal"] * len(expected)


def wrong(noise, kind):
    """Noise lines of another gain, or with an echo in the middle."""
    shape = noise.shape[-1]
    echo = 1e4 * np.exp(-(((np.arange(shape) - shape // 2) / 8) ** 2))
    return (300 * noise if kind == "another gain" else noise * (1 + echo)).astype(np.complex64)


@pytest.mark.parametrize("request_", [REQUESTS["repetitions"], REQUESTS["slab repetitions"]])
@pytest.mark.parametrize("value", [0, np.nan])
@pytest.mark.parametrize("offset", [0, 2], ids=["central line", "beside it"])
def test_a_broken_line_costs_its_own_image_alone(request_, value, offset, tmp_path):
    """The first repetition would have calibrated them all."""
    header, lines = simulated(request_, tmp_path)
    heads, center = lines.heads, header.encodings[0].encoding_matrix[1] // 2
    is_noise = has_flag(heads, NOISE)
    is_first = (heads["idx"]["repetition"] == 0) & (heads["idx"]["slice"] == 0) & ~is_noise
    spoiled = is_first & (heads["idx"]["kspace_encode_step_1"] == center + offset)
    assert spoiled.any()
    lines.data[:] = [value * d if s else d for d, s in zip(lines.data, spoiled, strict=True)]
    made = of_the_file(header, lines)
    without = of_the_file(header, select(lines, np.flatnonzero(~is_first)))
    for counters, image in without.items():
        # That the volume of the first image lacks a slice then is said of its other slices.
        notes = tuple(note for note in image.notes if "is incomplete" not in note)
        assert_same(made[counters], replace(image, notes=notes))
    for rule, n in (("slice", 1), ("measurement", 17)):
        assert_all_the_same(live(header, in_chunks(lines, n), rule)[0], made)


def lines_of(lines, **counters):
    wanted = np.logical_and.reduce([lines.heads["idx"][k] == v for k, v in counters.items()])
    return select(lines, np.flatnonzero(wanted & ~has_flag(lines.heads, NOISE)))


def test_an_image_is_made_with_its_last_line(tmp_path):
    header, lines = simulated(ScanRequest(**PLAIN, slices=3), tmp_path)
    scan = LiveScan(header, "slice", Assembler)
    when = [len(list(scan.add(chunk))) for chunk in in_chunks(lines, 1)]
    image = ~has_flag(lines.heads, NOISE)
    last = [np.flatnonzero(image & (lines.heads["idx"]["slice"] == s))[-1] for s in range(3)]
    assert np.flatnonzero(when).tolist() == last and sum(when) == 3
    assert list(scan.finish()) == []


def test_frames_are_made_as_soon_as_they_can_be_calibrated(tmp_path):
    request = ScanRequest(**PLAIN, calibration="interleaved", repetitions=4)
    header, lines = simulated(request, tmp_path)
    scan = LiveScan(header, "slice", Assembler)
    made = [
        [t.assemble().counters.repetition for t in scan.add(lines_of(lines, repetition=r))]
        for r in range(4)
    ]
    # Two frames fill k-space at twice the speed.
    assert made == [[], [0, 1], [2], [3]]


def test_lines_are_forgotten_with_their_image(tmp_path):
    header, lines = simulated(ScanRequest(**PLAIN, slices=4, repetitions=3), tmp_path)
    scan = LiveScan(header, "slice", Assembler)
    held = 0
    for chunk in in_chunks(lines, 1):
        list(scan.add(chunk))
        held = max(held, len(scan._data))
    n_noise = int(has_flag(lines.heads, NOISE).sum())
    per_image = len(lines_of(lines, slice=0, repetition=0).heads)
    assert held <= n_noise + per_image
    list(scan.finish())
    assert len(scan._data) == n_noise


def test_lines_that_make_no_image_are_not_kept(tmp_path):
    header, lines = simulated(ScanRequest(**PLAIN, spare_lines=True), tmp_path)
    scan = LiveScan(header, "measurement", Assembler)
    list(scan.add(lines))
    spare = lines.heads["flags"] & np.uint64(flag_bits(*set(REJECTED) - {NOISE})) != 0
    # Their heads are counted, their samples are gone at once.
    assert spare.any() and [d.size == 0 for d in scan._data] == spare.tolist()


def test_late_lines_are_counted_and_change_nothing(tmp_path):
    header, lines = simulated(ScanRequest(**PLAIN, slices=2), tmp_path)
    expected = of_the_file(header, lines)
    again = lines_of(lines, slice=0)
    scan = LiveScan(header, "slice", Assembler)
    made = {t.counters: t.assemble() for t in scan.add(joined(lines, again))}
    made |= {t.counters: t.assemble() for t in scan.finish()}
    assert_all_the_same(made, expected)
    assert scan.n_late == len(again.heads)
    assert scan.n_lines == len(lines.heads) + len(again.heads)


@pytest.mark.parametrize("n_after", [6, 2])
def test_a_flag_that_comes_too_early(n_after, tmp_path):
    """Long before the end it ends no image; shortly before it the lost lines are counted."""
    header, lines = simulated(ScanRequest(**PLAIN), tmp_path)
    lines = copied(lines)
    image = np.flatnonzero(~has_flag(lines.heads, NOISE))
    lines.heads["flags"][image[-1 - n_after]] |= np.uint64(flag_bits(LAST_IN_SLICE))
    for rule, n_late in (("slice", n_after if n_after == 2 else 0), ("repetition", 0)):
        made, scan = live(header, in_chunks(lines, 1), rule)
        assert len(made) == 1 and scan.n_late == n_late
        if not n_late:
            assert_all_the_same(made, of_the_file(header, lines))


@pytest.mark.parametrize("rule", ["bucket", "repetition"])
def test_a_bucket_that_is_cut_in_two_is_one_image(rule, tmp_path):
    header, lines = simulated(ScanRequest(**PLAIN), tmp_path)
    (bucket,) = in_buckets(lines)
    made, scan = live(header, in_chunks(bucket, 13), rule, buckets=True)
    assert_all_the_same(made, of_the_file(header, bucket))
    assert scan.n_late == 0


def test_a_scan_without_image_lines_says_so_at_its_end(tmp_path):
    header, lines = simulated(ScanRequest(**PLAIN), tmp_path)
    noise = select(lines, np.flatnonzero(has_flag(lines.heads, NOISE)))
    scan = LiveScan(header, "slice", Assembler)
    assert list(scan.add(noise)) == []
    with pytest.raises(UnsupportedScan, match="no image lines"):
        list(scan.finish())
    assert list(LiveScan(header, "slice", Assembler).finish()) == []
    radial = replace(header, encodings=(replace(header.encodings[0], trajectory="radial"),))
    with pytest.raises(UnsupportedScan, match="trajectory is radial, expected cartesian"):
        LiveScan(radial, "slice", Assembler)


@pytest.mark.parametrize("rule", ["slice", "repetition", "measurement", "bucket"])
def test_a_scan_of_nothing_but_reference_lines_gives_what_its_file_gives(rule, tmp_path):
    header, lines = simulated(ScanRequest(**PLAIN, calibration="separate"), tmp_path)
    only = select(lines, np.flatnonzero(has_flag(lines.heads, CALIBRATION)))
    made, _ = live(header, in_chunks(only, 3), rule, buckets=True)
    assert_all_the_same(made, of_the_file(header, only))


def test_planning_does_not_begin_anew_with_every_line(tmp_path, monkeypatch):
    """A scan that waits for its calibration is planned once per image, not once per line."""
    from jrsr_core.mrd.live import live_scan as module

    calls = []
    plan = module.plan_source
    monkeypatch.setattr(module, "plan_source", lambda *a, **k: calls.append(1) or plan(*a, **k))
    request = ScanRequest(**PLAIN, calibration="interleaved", repetitions=4, slices=3)
    header, lines = simulated(request, tmp_path)
    made, _ = live(header, in_chunks(lines, 1), "slice")
    assert len(calls) <= len(made) + 1 == 13


@pytest.mark.parametrize("rule", ["slice", "measurement"])
def test_slices_that_an_aborted_scan_lacks_are_named_at_its_end(rule, tmp_path):
    """Images that leave before the end of the scan have no note on what will be missing."""
    header, lines = simulated(REQUESTS["repetitions"], tmp_path)
    last = (lines.heads["idx"]["repetition"] == 2) & (lines.heads["idx"]["slice"] == 1)
    lines = select(lines, np.flatnonzero(~last))
    made, scan = live(header, [lines], rule)
    note = "repetition 2 is incomplete: 1 of 2 slices or slabs were measured"
    (counters,) = scan.volume_notes
    assert (counters.repetition, counters.slice) == (2, 0)
    assert scan.volume_notes[counters] == note
    assert [c for c, image in made.items() if note in image.notes] == (
        [counters] if rule == "measurement" else []
    )
    if rule == "measurement":
        assert_all_the_same(made, of_the_file(header, lines))
