"""Bytes gone wrong: always an answer of one line, never a crash, a hang or much memory.

A fixed corpus of spoilt inputs, and hypothesis, which makes an input that crashes small. The long
run is `python -m tests.benchmarks.fuzz`.
"""

import resource

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .targets import TARGETS, spoilt

N_SPOILT = {"stream": 100, "message": 300, "file": 100, "images": 100, "card": 60}
MAX_GROWTH = 256
"""MiB that a target may take over what its good inputs take."""

PROFILE = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", TARGETS)
def test_spoilt_bytes(name):
    target, random = TARGETS[name], np.random.default_rng(7)
    seeds = target.seeds()
    assert [target.answer(seed) for seed in seeds] == ["read"] * len(seeds)
    before, answers = peak_mib(), set()
    for i in range(N_SPOILT.get(name, 300)):
        answers.add(target.answer(spoilt(seeds[i % len(seeds)], random)))
    assert len(answers) > 1, answers
    assert peak_mib() - before < MAX_GROWTH


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", TARGETS)
def test_parts_joined_anyhow(name):
    """Pieces of good inputs, some bytes between: what lengths and offsets meet least."""
    target = TARGETS[name]
    seed = target.seeds()[0]
    cut = st.integers(0, len(seed))
    piece = st.tuples(cut, cut).map(lambda ends: seed[min(ends) : max(ends)])

    @PROFILE
    @given(st.lists(st.one_of(piece, st.binary(max_size=40)), max_size=4))
    def run(parts):
        target.answer(seed[: len(seed) // 2] + b"".join(parts))

    run()
