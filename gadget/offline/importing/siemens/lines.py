"""Siemens readouts -> ISMRMRD lines, with the conventions of `siemens_to_ismrmrd`.

The quaternion of a slice is the rotation whose columns are the directions of phase encode, readout
and slice in patient coordinates (Sag, Cor, Tra = L, P, S).
"""

from pathlib import Path

import numpy as np

from gadget.offline.importing.lazy import LazyLines
from jrsr_core.mrd.errors import BadScan
from jrsr_core.mrd.lines.acquired import (
    CALIBRATION,
    CALIBRATION_AND_IMAGING,
    FIRST_IN_SLICE,
    HEAD_DTYPE,
    LAST_IN_MEASUREMENT,
    LAST_IN_REPETITION,
    LAST_IN_SLICE,
    NOISE,
    PHASE_CORRECTION,
    REVERSE,
    flag_bits,
)

from .file import Readouts, channel_layout

FLAGS = {
    1: 28,
    2: 26,
    11: LAST_IN_REPETITION,
    14: 30,
    15: 31,
    21: PHASE_CORRECTION,
    24: REVERSE,
    25: NOISE,
    28: FIRST_IN_SLICE,
    29: LAST_IN_SLICE,
    44: 23,
    51: 27,
}
"""Bit of Siemens' EvalInfoMask -> flag of ISMRMRD. Bit 10 (a factor of the coils belongs to the
readout) is left out: it marks image lines."""

REFERENCE, REFERENCE_AND_IMAGE, NOISE_BIT = 22, 23, 25

COUNTERS = {
    "kspace_encode_step_1": "Lin",
    "kspace_encode_step_2": "Par",
    "average": "Ave",
    "slice": "Sli",
    "contrast": "Eco",
    "phase": "Phs",
    "repetition": "Rep",
    "set": "Set",
    "segment": "Seg",
}

UM_PER_MM = 1000
"""The place of the table is stored in micrometres."""

NOISE_BANDWIDTH_HZ = 130.0
"""Receiver bandwidth per sample of the noise readouts of VB."""


class SiemensLines(LazyLines):
    """Samples ``(coil, sample)`` of readouts, read from the file when asked for."""

    def __init__(self, path: Path, readouts: Readouts) -> None:
        self._bytes = np.memmap(path, np.uint8, "r")
        self._readouts = readouts

    def __len__(self) -> int:
        return len(self._readouts.heads)

    def line(self, index: int) -> np.ndarray:
        """Return the samples of one line."""
        head = self._readouts.heads[index]
        before, header, samples = channel_layout(head, self._readouts.measurement.is_vb)
        start = int(self._readouts.offsets[index]) + before + header
        shape = (int(head["UsedChannels"]), int(head["SamplesInScan"]))
        view = np.ndarray(
            shape, "<c8", buffer=self._bytes, offset=start, strides=(header + samples, 8)
        )
        return np.array(view)


def line_heads(readouts: Readouts, dwell_us: float, noise_us: float | None = None) -> np.ndarray:
    """Return ISMRMRD headers of all readouts.

    `dwell_us` is the dwell time of image readouts, `noise_us` that of noise; None for the usual one
    of the scanner.

    Raises
    ------
    BadScan
        Slice orientations that are no rotations.
    """
    own = readouts.heads
    heads = np.zeros(len(own), HEAD_DTYPE)
    heads["version"] = 1
    heads["measurement_uid"] = own["MeasUID"].astype(np.uint32)
    for name, source in (
        ("scan_counter", "ScanCounter"),
        ("acquisition_time_stamp", "TimeStamp"),
        ("number_of_samples", "SamplesInScan"),
        ("available_channels", "UsedChannels"),
        ("active_channels", "UsedChannels"),
        ("center_sample", "CenterCol"),
    ):
        heads[name] = own[source]
    heads["physiology_time_stamp"][:, 0] = own["PMUTimeStamp"]
    heads["discard_pre"], heads["discard_post"] = own["CutOff"]["Pre"], own["CutOff"]["Post"]
    for name, source in COUNTERS.items():
        heads["idx"][name] = own["Counter"][source]
    heads["flags"] = _flags(own["EvalInfoMask"])
    heads["sample_time_us"] = dwell_us
    is_noise = has_bit(own["EvalInfoMask"], NOISE_BIT)
    heads["sample_time_us"][is_noise] = [
        noise_us or noise_dwell_us(int(n), readouts.measurement.is_vb)
        for n in own["SamplesInScan"][is_noise]
    ]
    _set_places(heads, own, readouts.measurement.is_vb)
    last = np.flatnonzero(~is_noise)[-1:]
    heads["flags"][last] |= np.uint64(flag_bits(LAST_IN_MEASUREMENT))
    return heads


def noise_dwell_us(n_samples: int, is_vb: bool) -> float:
    """Return the dwell time of a noise readout, which the protocol does not state.

    Source: `compute_noise_sample_in_us` of `siemens_to_ismrmrd`.
    """
    if is_vb:
        return 1e6 / max(n_samples, 1) / NOISE_BANDWIDTH_HZ
    return int(76800.0 / max(n_samples, 1)) / 10.0


def directions(quaternions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return read, phase and slice direction ``(n, 3)`` of quaternions ``(n, 4)``, scalar first."""
    w, x, y, z = quaternions.astype(np.float64).T
    phase = np.stack([1 - 2 * (y**2 + z**2), 2 * (x * y + w * z), 2 * (x * z - w * y)], -1)
    read = np.stack([2 * (x * y - w * z), 1 - 2 * (x**2 + z**2), 2 * (y * z + w * x)], -1)
    normal = np.stack([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x**2 + y**2)], -1)
    return read, phase, normal


def _flags(mask: np.ndarray) -> np.ndarray:
    flags = np.zeros(len(mask), np.uint64)
    for bit, flag in FLAGS.items():
        flags[has_bit(mask, bit)] |= np.uint64(flag_bits(flag))
    both = has_bit(mask, REFERENCE_AND_IMAGE)
    flags[both] |= np.uint64(flag_bits(CALIBRATION_AND_IMAGING))
    flags[has_bit(mask, REFERENCE) & ~both] |= np.uint64(flag_bits(CALIBRATION))
    return flags


def has_bit(mask: np.ndarray, bit: int) -> np.ndarray:
    """Return a boolean per readout: whether a bit of its EvalInfoMask is set."""
    return (mask >> np.uint64(bit)) & np.uint64(1) == 1


def _set_places(heads: np.ndarray, own: np.ndarray, is_vb: bool) -> None:
    """Set position, directions and place of the table."""
    place = own["SliceData"]
    for axis, name in enumerate(("Sag", "Cor", "Tra")):
        heads["position"][:, axis] = place["SlicePos"][name]
    quaternions = place["Quaternion"].astype(np.float64)
    lengths = np.linalg.norm(quaternions, axis=1)
    is_turned = lengths > 0
    wrong = is_turned & ~(np.abs(lengths - 1) < 1e-2)
    if wrong.any():
        value = quaternions[int(wrong.argmax())].tolist()
        raise BadScan(f"{int(wrong.sum())} readouts have no usable slice orientation: {value}")
    unit = quaternions[is_turned] / lengths[is_turned, None]
    for name, values in zip(("read_dir", "phase_dir", "slice_dir"), directions(unit), strict=True):
        heads[name][is_turned] = values
    if not is_vb:
        for axis, name in enumerate("XYZ"):
            heads["patient_table_position"][:, axis] = own[f"PTABPos{name}"] / UM_PER_MM
