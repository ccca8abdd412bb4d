"""Finds channels without usable samples: a scan is reconstructed without them."""

import numpy as np


def broken_channels(n_bad: np.ndarray, n_lines: int) -> list[int]:
    """Return the channels that are not finite in half of the lines, while others are.

    `n_bad` is the number of lines that are not finite, by channel.
    """
    broken = n_bad >= n_lines / 2
    return [] if broken.all() else np.flatnonzero(broken).tolist()
