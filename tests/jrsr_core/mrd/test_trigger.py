"""When all lines of an image are in: flags and counters against what was counted in advance."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from jrsr_core.mrd.encoding import Encoding
from jrsr_core.mrd.lines import HEAD_DTYPE, LAST_IN_REPETITION, LAST_IN_SLICE, flag_bits
from jrsr_core.mrd.trigger import RULES, Trigger, Unit

NAMES = ("average", "contrast", "phase", "repetition", "set", "slice")


def encoding(**maxima: int) -> Encoding:
    all_maxima = dict.fromkeys(NAMES, 0) | maxima
    return Encoding(
        (1, 8, 8), (1, 8, 8), (5.0, 8.0, 8.0), (5.0, 8.0, 8.0), counter_maxima=all_maxima
    )


def without_limits() -> Encoding:
    return Encoding((1, 8, 8), (1, 8, 8), (5.0, 8.0, 8.0), (5.0, 8.0, 8.0))


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
        made += [line(kspace_encode_step_1=k, **counters) for k in range(n_lines - 1)]
        made.append(line(LAST_IN_SLICE, kspace_encode_step_1=n_lines - 1, **counters))
    return made


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
    heads = [line(slice=0), line(slice=1, repetition=1), line(LAST_IN_REPETITION, slice=2)]
    expected = [[], [], [Unit(0, 0, 0), Unit(0, 2, 0)]]
    assert followed(trigger, heads) == ([[]] * 3 if rule == "measurement" else expected)


def test_encoding_spaces_are_units_of_their_own():
    trigger = Trigger("slice", (encoding(), encoding(average=1)))
    assert trigger.line(line(LAST_IN_SLICE)) == [Unit(0, 0, 0)]
    assert trigger.line(line(LAST_IN_SLICE, space=1)) == []
    assert trigger.line(line(LAST_IN_SLICE, space=1, average=1)) == [Unit(1, 0, 0)]


@pytest.mark.parametrize("rule", RULES)
def test_the_end_of_a_bucket(rule):
    trigger = Trigger(rule, (without_limits(),))
    trigger.line(line(slice=4))
    complete = [Unit(0, 4, 0)] if rule == "bucket" else []
    assert trigger.bucket() == complete
    assert trigger.is_late(line(slice=4)) == bool(complete)
    assert trigger.bucket() == []
    trigger.line(line(slice=1))
    assert trigger.bucket() == ([Unit(0, 1, 0)] if rule == "bucket" else [])
    assert trigger.end() == ([] if rule == "bucket" else [Unit(0, 1, 0), Unit(0, 4, 0)])
