"""Time stamps of lines, in ticks whose length ISMRMRD leaves to the vendor."""

from datetime import timedelta

import numpy as np

TICK = timedelta(milliseconds=2.5)
"""Tick of Siemens; no image takes half a day in those of others."""

DAY = timedelta(days=1)


def first_time_stamp(stamps: np.ndarray) -> int:
    """Return the first of the acquisition time stamps, 0 if none is above 0.

    Stamps may count from midnight: of those on both sides of it, the first are those before.
    """
    stamps = stamps[stamps > 0].astype(np.int64)
    if not len(stamps):
        return 0
    before_midnight = stamps[stamps - stamps.min() > DAY // TICK // 2]
    return int((before_midnight if len(before_midnight) else stamps).min())
