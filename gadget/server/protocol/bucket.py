"""Acquisition buckets: all headers, all trajectories, then all samples, of data and reference.

    meta (13 x uint64)  data {count, bytes of headers, samples, trajectories}, reference {the same},
                        bytes of both statistics, waveforms {count, bytes of headers, samples}
    data | statistics | reference | statistics | waveform headers | waveform samples

Lines for both calibration and image (flag 21) are in both parts; one of each is kept.
"""

import numpy as np

from jrsr_core.mrd.lines.acquired import (
    CALIBRATION,
    CALIBRATION_AND_IMAGING,
    HEAD_DTYPE,
    PHASE_CORRECTION,
    LineList,
    has_flag,
)

from .messages import WAVEFORM_HEAD, ForwardedMessage, Lines, waveform_bytes
from .wire import UINT64, Id, ProtocolError, Stream, checked

N_COUNTERS = 9


def read_bucket(stream: Stream) -> Lines:
    """Read the payload of one bucket."""
    meta = np.frombuffer(stream.read(13 * 8), "<u8").tolist()
    data_sizes, reference_sizes, waveform_sizes = meta[:4], meta[4:8], meta[10:]
    total = sum(data_sizes[1:]) + sum(reference_sizes[1:]) + sum(waveform_sizes[1:])
    checked("bucket", total, stream.limits.message)
    heads, data = _read_lines(stream, "data", data_sizes)
    _skip_statistics(stream, meta[8])
    reference_heads, reference = _read_lines(stream, "reference", reference_sizes)
    _skip_statistics(stream, meta[9])
    waveforms = _read_waveforms(stream, waveform_sizes)
    lines = of_both_parts(LineList(heads, data), LineList(reference_heads, reference))
    return Lines(lines, waveforms, is_bucket=True)


def of_both_parts(data: LineList, reference: LineList) -> LineList:
    """Return the lines of the data and of the reference of a bucket, each once, in their order."""
    heads = reference.heads
    # Gadgetron decides by these flags that a line goes into the data part.
    only = has_flag(heads, CALIBRATION) | has_flag(heads, PHASE_CORRECTION)
    kept = np.flatnonzero(only | ~has_flag(heads, CALIBRATION_AND_IMAGING))
    samples = [*data.data, *(reference.data[i] for i in kept.tolist())]
    return _in_time(LineList(np.concatenate([data.heads, heads[kept]]), samples))


def _in_time(lines: LineList) -> LineList:
    """Sort lines by their scan counter, unless it is not unique."""
    counter = lines.heads["scan_counter"]
    if len(np.unique(counter)) < len(counter):
        return lines
    order = np.argsort(counter)
    return LineList(lines.heads[order], [lines.data[i] for i in order])


def _read_lines(stream: Stream, part: str, sizes: list[int]) -> tuple[np.ndarray, list[np.ndarray]]:
    count, head_bytes, data_bytes, trajectory_bytes = sizes
    _agree(part, "headers", head_bytes, count * HEAD_DTYPE.itemsize)
    heads = np.frombuffer(stream.read(head_bytes), HEAD_DTYPE)
    n_coils, n_samples, n_dims = (
        heads[name].astype(np.int64)
        for name in ("active_channels", "number_of_samples", "trajectory_dimensions")
    )
    _agree(part, "trajectories", trajectory_bytes, int(4 * (n_samples * n_dims).sum()))
    _agree(part, "samples", data_bytes, int(8 * (n_samples * n_coils).sum()))
    stream.read(trajectory_bytes)
    # Each line has memory of its own: a view would keep the bucket until its last line is used.
    shapes = zip(n_coils.tolist(), n_samples.tolist(), strict=True)
    return heads, [_samples(stream, *shape) for shape in shapes]


def _samples(stream: Stream, n_coils: int, n_samples: int) -> np.ndarray:
    data = stream.read(8 * n_coils * n_samples)
    return np.frombuffer(data, "<c8").reshape(n_coils, n_samples)


def _skip_statistics(stream: Stream, size: int) -> None:
    """Read past the sets of counters, which the headers contain as well."""
    checked("bucket statistics", size, stream.limits.message)
    n_sets = N_COUNTERS * checked("bucket encoding spaces", stream.number(UINT64), 2**16)
    left = size - 8 * (1 + n_sets)
    for _ in range(n_sets):
        n_bytes = 2 * checked("bucket statistics", stream.number(UINT64), 2**16)
        left -= n_bytes
        if left < 0:
            raise ProtocolError(f"bucket statistics are longer than the announced {size} bytes")
        stream.read(n_bytes)


def _read_waveforms(stream: Stream, sizes: list[int]) -> list[ForwardedMessage]:
    count, head_bytes, data_bytes = sizes
    size = WAVEFORM_HEAD.itemsize
    _agree("waveforms", "headers", head_bytes, count * size)
    raw = stream.read(head_bytes)
    heads = [raw[i : i + size] for i in range(0, head_bytes, size)]
    lengths = [waveform_bytes(head) for head in heads]
    _agree("waveforms", "samples", data_bytes, sum(lengths))
    return [
        ForwardedMessage(Id.WAVEFORM, head + stream.read(n))
        for head, n in zip(heads, lengths, strict=True)
    ]


def _agree(part: str, what: str, announced: int, expected: int) -> None:
    if announced != expected:
        text = f"{what} of {announced} bytes announced, its headers require {expected}"
        raise ProtocolError(f"bucket {part}: {text}")
