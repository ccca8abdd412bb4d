"""When all lines of an image are in: flags and counters against what was counted in advance."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from jrsr_core.mrd.header.encoding import Encoding
from jrsr_core.mrd.lines.acquired import HEAD_DTYPE, LAST_IN_REPETITION, LAST_IN_SLICE, flag_bits
from jrsr_core.mrd.live.trigger import RULES, Trigger, Unit

NAMES = ("average", "contrast", "phase", "repetition", "set", "slice")


def encoding(n_lines: int = 3, **maxima: int) -> Encoding:
    """An encoding space with all limits."""
    all_maxima = dict.fromkeys(NAMES, 0) | maxima
    limits = (0, n_lines - 1)
    return replace(without_limits(n_lines), line_limits=limits, counter_maxima=all_maxima)


def without_limits(n_lines: int = 8) -> Encoding:
    matrix = (1, n_lines, 8)
    return Encoding(matrix, matrix, (5.0, n_lines, 8.0), (5.0, n_lines, 8.0))


def line(*flags: int, space: int = 0, **counters: int) -> np.void:
    head = np.zeros((), HEAD_DTYPE)
    head["flags"], head["encoding_space_ref"] = flag_bits(*flags), space
    for name, value in counters.items():
        head["idx"][name] = value
    return head[()]


def scan(nesting: tuple[str, ...], sizes: dict[str, int], n_lines: int = 3) -> list[np.void]:
    """Lines of all counters, the first of `nesting` outermost, the last line of each flagged."""
    made = []
    for values in itertools.product(*(range(sizes.get(name, 1)) for name in nesting)):
        counters = dict(zip(nesting, values, strict=True))
        made += image(LAST_IN_SLICE, n_lines=n_lines, **counters)
    return made


def image(*flags: int, n_lines: int = 3, **counters: int) -> list[np.void]:
    """All lines of one image, the last one with the flags."""
    made = [line(kspace_encode_step_1=k, **counters) for k in range(n_lines - 1)]
    return [*made, line(*flags, kspace_encode_step_1=n_lines - 1, **counters)]


def followed(trigger: Trigger, heads: list[np.void]) -> list[list[Unit]]:
    return [trigger.line(head) for head in heads]


@pytest.mark.parametrize(
    "nesting",
    [
        ("repetition", "slice", "contrast", "phase", "set", "average"),
        ("repetition", "average", "set", "phase", "contrast", "slice"),
        ("repetition", "contrast", "slice", "average", "phase", "set"),
    ],
)
def test_a_unit_is_complete_with_the_last_line_of_its_last_image(nesting):
    sizes = {"slice": 2, "contrast": 2, "phase": 2, "set": 1, "average": 3, "repetition": 2}
    heads = scan(nesting, sizes)
    trigger = Trigger("slice", (encoding(**{k: n - 1 for k, n in sizes.items()}),))
    found = followed(trigger, heads)
    for repetition, number in itertools.product(range(2), range(2)):
        unit = Unit(0, number, repetition)
        members = [
            i
            for i, head in enumerate(heads)
            if (head["idx"]["repetition"], head["idx"]["slice"]) == (repetition, number)
        ]
        assert [i for i, units in enumerate(found) if unit in units] == [members[-1]]
        assert trigger.is_late(heads[members[0]])
    assert trigger.end() == []


def test_only_the_end_is_sure_where_the_header_has_no_limits():
    heads = scan(("repetition", "slice"), {"slice": 2})
    trigger = Trigger("slice", (without_limits(),))
    assert followed(trigger, heads) == [[]] * len(heads)
    assert trigger.end() == [Unit(0, 0, 0), Unit(0, 1, 0)]


def test_limits_that_promise_too_much_delay_an_image_and_lose_none():
    heads = scan(("repetition", "slice"), {"slice": 2, "repetition": 2})
    trigger = Trigger("slice", (encoding(contrast=5, slice=1, repetition=1),))
    assert followed(trigger, heads) == [[]] * len(heads)
    assert trigger.end() == [Unit(0, s, r) for r in range(2) for s in range(2)]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("outside", ["average", "contrast", "phase", "set"])
def test_what_the_limits_announce_is_waited_for_outside_the_repetitions(rule, outside):
    heads = scan((outside, "repetition"), {outside: 2, "repetition": 3})
    trigger = Trigger(rule, (encoding(**{outside: 1, "repetition": 2}),))
    closed = []
    for head in heads:
        assert not trigger.is_late(head)
        closed += trigger.line(head)
        if head["flags"] & np.uint64(flag_bits(LAST_IN_SLICE)):
            closed += trigger.bucket()
    assert closed + trigger.end() == [Unit(0, 0, r) for r in range(3)]


ORDERS = {
    "linear": range(8),
    "descending": range(7, -1, -1),
    "centric": sorted(range(8), key=lambda ky: abs(ky - 4)),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_flags_set_by_line_number_lose_no_line_where_limits_are_missing(rule, order):
    trigger = Trigger(rule, (without_limits(),))
    for ky, number in itertools.product(order, range(3)):
        flags = (LAST_IN_SLICE, LAST_IN_REPETITION) if ky == 7 else ()
        head = line(*flags, kspace_encode_step_1=ky, slice=number)
        assert not trigger.is_late(head)
        assert trigger.line(head) == []
    assert trigger.end() == [Unit(0, s, 0) for s in range(3)]


@pytest.mark.parametrize("rule", RULES)
def test_the_last_line_of_a_partition_is_not_that_of_a_slab(rule):
    limits = dict.fromkeys(NAMES, 0)
    slab = replace(encoding(), encoding_matrix=(4, 8, 8), counter_maxima=limits)
    trigger = Trigger(rule, (slab,))
    for z, ky in itertools.product(range(4), range(3)):
        flags = [LAST_IN_SLICE] if ky == 2 else []
        head = line(*flags, kspace_encode_step_1=ky, kspace_encode_step_2=z)
        assert not trigger.is_late(head) and trigger.line(head) == []
    assert trigger.end() == [Unit(0, 0, 0)]


@pytest.mark.parametrize("rule", RULES)
def test_the_next_repetition_ends_the_one_before(rule):
    heads = scan(("repetition", "slice"), {"slice": 2, "repetition": 3})
    trigger = Trigger(rule, (without_limits(),))
    found = [unit for units in followed(trigger, heads) for unit in units]
    earlier = [Unit(0, s, r) for r in range(2) for s in range(2)]
    assert found == ([] if rule == "measurement" else earlier)
    left = [Unit(0, s, r) for r in range(3) for s in range(2)]
    assert trigger.end() == [unit for unit in left if unit not in found]


@pytest.mark.parametrize("rule", RULES)
def test_the_flag_at_the_end_of_a_repetition_ends_all_its_slices(rule):
    trigger = Trigger(rule, (encoding(slice=2, repetition=1),))
    heads = [
        *image(slice=0),
        *image(slice=1, repetition=1),
        *image(LAST_IN_REPETITION, slice=2),
    ]
    expected = [*[[]] * 8, [Unit(0, 0, 0), Unit(0, 2, 0)]]
    assert followed(trigger, heads) == ([[]] * 9 if rule == "measurement" else expected)


IN_TURN = {
    "slices": {"slice": 3},
    "echoes": {"contrast": 3},
    "sets": {"set": 2},
    "phases": {"phase": 2},
    "averages": {"average": 2},
    "echoes of slices": {"slice": 2, "contrast": 2},
    "slices of echoes": {"contrast": 2, "slice": 2},
    "averages of sets of phases": {"phase": 2, "set": 2, "average": 2},
}
STEPS = {"linear": range(32), "undersampled": range(1, 32, 2), "descending": range(31, -1, -1)}


@pytest.mark.parametrize(
    ("flags", "rule"),
    [
        ([LAST_IN_SLICE], "slice"),
        ([LAST_IN_REPETITION], "slice"),
        ([LAST_IN_REPETITION], "repetition"),
        ([LAST_IN_REPETITION], "bucket"),
        ([LAST_IN_SLICE, LAST_IN_REPETITION], "slice"),
        ([LAST_IN_SLICE, LAST_IN_REPETITION], "repetition"),
    ],
)
@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("sizes", IN_TURN.values(), ids=IN_TURN)
def test_images_in_turn_end_with_their_own_last_line(sizes, direction, steps, flags, rule):
    """Every line is measured of all images before the next one; the last of each is flagged."""
    acceleration = (32 // len(steps), 1)
    limits = {name: n - 1 for name, n in sizes.items()}
    trigger = Trigger(rule, (replace(encoding(32, **limits), acceleration=acceleration),))
    turn = list(itertools.product(*(range(n)[::direction] for n in sizes.values())))
    heads = [
        line(
            *(flags if ky == steps[-1] else ()),
            kspace_encode_step_1=ky,
            **dict(zip(sizes, counters, strict=True)),
        )
        for ky, counters in itertools.product(steps, turn)
    ]
    last = {Unit(0, int(head["idx"]["slice"]), 0): i for i, head in enumerate(heads)}
    closed = {unit: i for i, units in enumerate(followed(trigger, heads)) for unit in units}
    assert closed == last


def test_an_echo_that_the_limits_do_not_announce_keeps_its_last_line():
    trigger = Trigger("slice", (encoding(32),))
    heads = [
        line(*([LAST_IN_SLICE] if k == 31 else []), kspace_encode_step_1=k, contrast=c)
        for k, c in itertools.product(range(32), range(2))
    ]
    assert followed(trigger, heads) == [*[[]] * 63, [Unit(0, 0, 0)]]


@pytest.mark.parametrize("rule", ["slice", "repetition"])
def test_a_slice_that_lacks_lines_costs_the_flags_no_trust(rule):
    """Two undersampled slices: the first ends when the second has but one line."""
    trigger = Trigger(rule, (encoding(32, slice=1),))
    steps = [*range(0, 12, 3), *range(12, 20), *range(20, 32, 3)]
    first, second = (
        [
            line(*([LAST_IN_REPETITION] if k == 29 else []), kspace_encode_step_1=k, slice=s)
            for k in steps
        ]
        for s in range(2)
    )
    found = followed(trigger, [second[0], *first, *second[1:]])
    n = len(steps)
    assert found == [*[[]] * n, [Unit(0, 0, 0)], *[[]] * (n - 2), [Unit(0, 1, 0)]]


@pytest.mark.parametrize("missing", [0, 1])
def test_encoding_spaces_are_compared_by_the_share_of_their_matrix(missing):
    """The flag is on the space of 16 lines; the one of 32 has all its lines, or lacks one."""
    trigger = Trigger("slice", (encoding(32), encoding(16)))
    followed(trigger, image(n_lines=32)[: 32 - missing])
    *_, closed = followed(trigger, image(LAST_IN_REPETITION, n_lines=16, space=1))
    left = [Unit(0, 0, 0)] if missing else []
    assert {*closed, *left} == {Unit(0, 0, 0), Unit(1, 0, 0)}
    assert trigger.end() == left


def test_encoding_spaces_are_units_of_their_own():
    trigger = Trigger("slice", (encoding(), encoding(average=1)))
    last = [
        followed(trigger, image(LAST_IN_SLICE, **kind))[-1]
        for kind in ({}, {"space": 1}, {"space": 1, "average": 1})
    ]
    assert last == [[Unit(0, 0, 0)], [], [Unit(1, 0, 0)]]


@pytest.mark.parametrize("rule", RULES)
def test_the_end_of_a_bucket(rule):
    trigger = Trigger(rule, (without_limits(3),))
    followed(trigger, image(slice=4))
    complete = [Unit(0, 4, 0)] if rule == "bucket" else []
    assert trigger.bucket() == complete
    assert trigger.is_late(line(slice=4)) == bool(complete)
    assert trigger.bucket() == []
    followed(trigger, image(slice=1))
    assert trigger.bucket() == ([Unit(0, 1, 0)] if rule == "bucket" else [])
    assert trigger.end() == ([] if rule == "bucket" else [Unit(0, 1, 0), Unit(0, 4, 0)])


SHOTS = {
    "every second line": [range(0, 32, 2), range(1, 32, 2)],
    "every third line": [range(i, 32, 3) for i in range(3)],
    "halves": [range(16), range(16, 32)],
    "from the centre": [range(15, -1, -1), range(16, 32)],
    "every line": [[k] for k in range(32)],
}


@pytest.mark.parametrize("sign", ["slice", "repetition", "bucket"])
@pytest.mark.parametrize("shots", SHOTS.values(), ids=SHOTS)
def test_a_flag_at_the_end_of_every_shot_ends_no_image_before_its_last_line(shots, sign):
    """The flag of the slice or of the repetition, or a bucket per shot; two slices in turn."""
    flag = {"slice": LAST_IN_SLICE, "repetition": LAST_IN_REPETITION}.get(sign)
    trigger = Trigger(sign, (encoding(32, slice=1),))
    closed = {}
    for number, (shot, where) in enumerate(itertools.product(shots, range(2))):
        for i, ky in enumerate(shot):
            flags = [flag] if flag and i == len(shot) - 1 else []
            head = line(*flags, kspace_encode_step_1=ky, slice=where)
            assert not trigger.is_late(head)
            closed |= dict.fromkeys(trigger.line(head), number)
        closed |= dict.fromkeys(trigger.bucket(), number)
    n = 2 * len(shots)
    assert closed == {Unit(0, 0, 0): n - 2, Unit(0, 1, 0): n - 1}


@pytest.mark.parametrize("last", [7, 9])
def test_a_repetition_that_ends_at_every_partition_ends_with_the_volume(last):
    """Flags as MaRCoS sets them; its limits announce 8 of the 10 partitions."""
    space = replace(
        encoding(6), encoding_matrix=(10, 6, 8), center_partition=5, partition_limits=(0, last)
    )
    trigger = Trigger("slice", (space,))
    found = []
    for z in range(10):
        found += followed(trigger, image(LAST_IN_REPETITION, n_lines=6, kspace_encode_step_2=z))
    assert found == [*[[]] * 59, [Unit(0, 0, 0)]]


def test_segments_end_with_the_last():
    trigger = Trigger("slice", (replace(encoding(32), max_segment=1),))
    shots = [line(LAST_IN_SLICE, kspace_encode_step_1=k, segment=k % 2) for k in range(32)]
    in_order = sorted(shots, key=lambda head: int(head["idx"]["segment"]))
    for head in in_order:
        head["flags"] = 0
    in_order[15]["flags"] = in_order[-1]["flags"] = flag_bits(LAST_IN_SLICE)
    assert followed(trigger, in_order) == [*[[]] * 31, [Unit(0, 0, 0)]]


SAMPLED = {
    "regular": (4, {"acceleration": (4, 1)}, range(1, 64, 4)),
    "regular with centre": (3, {}, sorted({*range(0, 64, 3), *range(26, 38)})),
    "partial Fourier": (1, {"line_limits": (0, 39), "center_line": 8}, range(40)),
    "partial Fourier, full limits": (1, {}, range(16, 64)),
    "random": (1, {}, [1, 3, 9, 14, 20, 24, *range(26, 38), 40, 43, 47, 52, 60]),
    "centric": (1, {}, sorted(range(64), key=lambda k: abs(k - 32))),
}


@pytest.mark.parametrize(("factor", "more", "order"), SAMPLED.values(), ids=SAMPLED)
def test_undersampled_images_are_ended_by_their_first_flag(factor, more, order):
    space = replace(encoding(64), **{"acceleration": (factor, 1)} | more)
    trigger = Trigger("slice", (space,))
    heads = [line(kspace_encode_step_1=k) for k in order]
    heads[-1] = line(LAST_IN_SLICE, kspace_encode_step_1=list(order)[-1])
    assert followed(trigger, heads) == [*[[]] * (len(heads) - 1), [Unit(0, 0, 0)]]


@pytest.mark.parametrize("sign", ["slice", "repetition", "bucket"])
def test_an_undersampled_image_whose_lines_are_all_flagged_waits_for_the_end(sign):
    """Acceleration 2.5 with calibration lines, which the header rounds to 3: 19 lines, not 16."""
    flag = {"slice": [LAST_IN_SLICE], "repetition": [LAST_IN_REPETITION]}.get(sign, [])
    trigger = Trigger(sign, (replace(encoding(48, slice=1), acceleration=(3, 1)),))
    lines = [1, 5, 9, 14, *range(18, 30), 33, 38, 46]
    for ky, where in itertools.product(lines, range(2)):
        head = line(*flag, kspace_encode_step_1=ky, slice=where)
        assert not trigger.is_late(head)
        assert trigger.line(head) == trigger.bucket() == []
    assert trigger.end() == [Unit(0, 0, 0), Unit(0, 1, 0)]
