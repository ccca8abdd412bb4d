"""What the lines of an image tell about its sampling: averages, phase encodes, bandwidth."""

from dataclasses import replace

import numpy as np

from jrsr_core.data import AcquisitionStamp
from jrsr_core.mrd.lines.acquired import only_calibrates
from jrsr_core.mrd.lines.grid import plane_counts
from jrsr_core.mrd.lines.readout import LineLayout, plan_readout, readout_kinds


def with_sampling(
    stamp: AcquisitionStamp, heads: np.ndarray, central: np.ndarray, layout: LineLayout
) -> AcquisitionStamp:
    """Return the stamp with the sampling of an image.

    Parameters
    ----------
    heads
        Headers of its lines that were used; those that only calibrate are no further averages.
    central
        Header of the line nearest the k-space centre, ``(1,)``.
    """
    only, grid = only_calibrates(heads), layout.encoding.grid
    repeated = heads if only.all() else heads[~only]
    return replace(
        stamp,
        n_averages=int(plane_counts(repeated, grid).max()),
        n_phase_encodes=int(plane_counts(heads, grid).any(1).sum()),
        pixel_bandwidth_hz=pixel_bandwidth_hz(central, layout),
    )


def pixel_bandwidth_hz(head: np.ndarray, layout: LineLayout) -> float:
    """Return 1 / (N T) for N samples of the encoded readout and the sample time T; 0 if unknown.

    The frequencies 1 / T of the encoded field of view spread over N pixels of the acquired size. An
    asymmetric echo leaves this pixel as it is, and so does an image on a finer grid. It is unknown
    if the receiver removed the oversampling: the header may state the sample time before or after.
    """
    (kind,) = readout_kinds(head)
    n_encoded, sample_us = layout.encoding.encoding_matrix[2], float(head["sample_time_us"][0])
    if plan_readout(kind, layout).n_full != n_encoded or not 0 < sample_us < np.inf:
        return 0.0
    # The sample time is float32: more digits are those of its rounding.
    return float(f"{1e6 / (n_encoded * sample_us):.6g}")
