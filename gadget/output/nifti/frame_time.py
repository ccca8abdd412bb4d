"""Finds the time between the frames of a stack of slices."""

from datetime import timedelta

import numpy as np

from gadget.output.labels import Labels
from gadget.output.series.stacks import FRAMES, Stack
from gadget.output.ticks import has_ticks
from jrsr_core.mrd.lines.time_stamps import DAY, TICK

MAX_UNEVENNESS = 0.02
"""Deviation of a frame from even steps, relative to the step, that one number may stand for."""


def frame_seconds(stack: Stack, labels: Labels) -> float | None:
    """Return the median time between repetitions, in seconds.

    None if the frames are no repetitions, or if their time stamps are missing, uneven or of an
    unknown unit.
    """
    frames = [frame[0] for frame in stack.frames]
    counters = {tuple(plane.counters[name] for name in FRAMES[1:]) for plane in frames}
    stamps = np.array([plane.acquired for plane in frames], np.int64)
    if len(frames) < 2 or len(counters) > 1 or not stamps.all() or not has_ticks(labels):
        return None
    # Stamps count from midnight.
    steps = np.diff(stamps) % (DAY // TICK)
    step = float(np.median(steps))
    repetitions = np.diff([plane.counters["repetition"] for plane in frames])
    is_even = np.ptp(steps) <= MAX_UNEVENNESS * step and np.ptp(repetitions) == 0
    return step * TICK / timedelta(seconds=1) if is_even and step else None
