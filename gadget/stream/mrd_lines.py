"""Acquisitions of MRD v2 as lines.

Counters that are absent are 0, and an absent centre is the middle sample. Times are nanoseconds in
2.2, and the unit of the vendor, read as milliseconds, in 2.1 and in ISMRMRD v1.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gadget.server.protocol.wire import ProtocolError, checked
from jrsr_core.mrd.lines.acquired import HEAD_DTYPE, LineList, channel_mask

NS_PER_MS = 1_000_000


def lines_of(acquisitions: Sequence[Any], limit: int) -> LineList:
    """Return acquisitions as lines.

    Parameters
    ----------
    limit
        Largest size of one acquisition, in bytes.

    Raises
    ------
    ProtocolError
        A counter beyond 65535, samples that are no matrix (coil, sample), a line beyond the limit,
        or a phase per sample, which is not supported.
    """
    heads = np.zeros(len(acquisitions), HEAD_DTYPE)
    data = []
    for i, acquisition in enumerate(acquisitions):
        samples = acquisition.data
        if samples.ndim != 2:
            raise ProtocolError(f"acquisition {i} has samples {samples.shape}, expected 2 axes")
        if getattr(acquisition, "phase", None) is not None:
            raise ProtocolError("acquisitions with a phase per sample are not supported")
        checked("acquisition", samples.nbytes, limit)
        _fill(heads[i], acquisition.head, samples.shape)
        data.append(np.ascontiguousarray(samples, "<c8"))
    return LineList(heads, data)


def milliseconds(record: Any, name: str) -> int:
    """Return the time stamp `name` of a record in milliseconds, whichever version it has."""
    if hasattr(record, f"{name}_ns"):
        return (getattr(record, f"{name}_ns") or 0) // NS_PER_MS
    return getattr(record, name) or 0


def _fill(head: np.void, given: Any, shape: tuple[int, int]) -> None:
    n_coils, n_samples = shape
    head["version"] = 1
    _put(head, "flags", int(given.flags))
    _put(head, "measurement_uid", given.measurement_uid)
    _put(head, "acquisition_time_stamp", milliseconds(given, "acquisition_time_stamp"))
    _put(head, "number_of_samples", n_samples)
    for name in ("available_channels", "active_channels"):
        _put(head, name, n_coils)
    for name in ("scan_counter", "discard_pre", "discard_post", "encoding_space_ref"):
        _put(head, name, getattr(given, name) or 0)
    centre = given.center_sample
    _put(head, "center_sample", n_samples // 2 if centre is None else centre)
    head["sample_time_us"] = _sample_time_us(given)
    for name in ("position", "read_dir", "phase_dir", "slice_dir", "patient_table_position"):
        head[name] = getattr(given, name)
    for name in head["idx"].dtype.names or ():
        if name != "user":
            _put(head["idx"], name, getattr(given.idx, name) or 0)
    _copy(head["idx"]["user"], given.idx.user)
    physiology = getattr(given, "physiology_time_stamp_ns", None)
    stamps = (
        given.physiology_time_stamp if physiology is None else [p // NS_PER_MS for p in physiology]
    )
    _copy(head["physiology_time_stamp"], stamps)
    _copy(head["user_int"], given.user_int)
    _copy(head["user_float"], given.user_float)
    head["channel_mask"] = channel_mask(n_coils)


def _put(record: np.void, name: str, number: int) -> None:
    """Set a field; raises `ProtocolError` for a number that older versions of NumPy would wrap."""
    most = np.iinfo(record[name].dtype).max
    if not 0 <= number <= most:
        raise ProtocolError(
            f"{name} of an acquisition is {number}, too large for a line: at most {most}"
        )
    record[name] = number


def _copy(target: np.ndarray, values: Sequence[float]) -> None:
    n = min(len(target), len(values))
    target[:n] = values[:n]


def _sample_time_us(given: Any) -> float:
    if hasattr(given, "sample_time_ns"):
        return (given.sample_time_ns or 0) / 1000
    return given.sample_time_us or 0.0
