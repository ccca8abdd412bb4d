"""Acquisition buckets: all heads, then all trajectories, then all samples, of data and reference.

    meta (13 x uint64)  data {count, bytes of heads, samples, trajectories}, reference {the same},
                        bytes of both statistics, waveforms {count, bytes of heads, samples}
    data | statistics | reference | statistics | waveform heads | waveform samples

Lines that are calibration and image alike (flag 21) come twice; one of each is kept.
"""

import math
import struct
from collections.abc import Callable

import numpy as np
from ismrmrd.hdf5 import image_header_dtype

from jrsr_core.mrd.lines import (
    CALIBRATION,
    CALIBRATION_AND_IMAGING,
    HEAD_DTYPE,
    PHASE_CORRECTION,
    LineList,
    has_flag,
)

from .messages import WAVEFORM_HEAD, Lines, Passenger, waveform_bytes
from .wire import UINT64, Id, Limits, ProtocolError, Stream, checked

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
    # This is how Gadgetron decides that a line goes into the data part.
    only = has_flag(reference_heads, CALIBRATION) | has_flag(reference_heads, PHASE_CORRECTION)
    kept = np.flatnonzero(only | ~has_flag(reference_heads, CALIBRATION_AND_IMAGING))
    lines = LineList(
        np.concatenate([heads, reference_heads[kept]]), data + [reference[i] for i in kept]
    )
    return Lines(_in_time(lines), waveforms, is_bucket=True)


def _in_time(lines: LineList) -> LineList:
    """Put lines in the order of acquisition, where the scan counter tells it."""
    counter = lines.heads["scan_counter"]
    if len(np.unique(counter)) < len(counter):
        return lines
    order = np.argsort(counter)
    return LineList(lines.heads[order], [lines.data[i] for i in order])


def _read_lines(stream: Stream, part: str, sizes: list[int]) -> tuple[np.ndarray, list[np.ndarray]]:
    count, head_bytes, data_bytes, trajectory_bytes = sizes
    _agree(part, "heads", head_bytes, count * HEAD_DTYPE.itemsize)
    heads = np.frombuffer(stream.read(head_bytes), HEAD_DTYPE)
    n_coils, n_samples, n_dims = (
        heads[name].astype(np.int64)
        for name in ("active_channels", "number_of_samples", "trajectory_dimensions")
    )
    _agree(part, "trajectories", trajectory_bytes, int(4 * (n_samples * n_dims).sum()))
    _agree(part, "samples", data_bytes, int(8 * (n_samples * n_coils).sum()))
    stream.read(trajectory_bytes)
    samples = np.frombuffer(stream.read(data_bytes), "<c8")
    ends = np.cumsum(n_samples * n_coils)
    pieces = np.split(samples, ends[:-1]) if count else []
    shapes = zip(n_coils.tolist(), n_samples.tolist(), strict=True)
    return heads, [piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)]


def _skip_statistics(stream: Stream, told: int) -> None:
    """Read past the sets of counters; the heads say the same."""
    checked("bucket statistics", told, stream.limits.message)
    n_sets = N_COUNTERS * checked("bucket encoding spaces", stream.number(UINT64), 2**16)
    left = told - 8 * (1 + n_sets)
    for _ in range(n_sets):
        n_bytes = 2 * checked("bucket statistics", stream.number(UINT64), 2**16)
        left -= n_bytes
        if left < 0:
            raise ProtocolError(f"bucket statistics are longer than the {told} bytes told")
        stream.read(n_bytes)


def _read_waveforms(stream: Stream, sizes: list[int]) -> list[Passenger]:
    count, head_bytes, data_bytes = sizes
    size = WAVEFORM_HEAD.itemsize
    _agree("waveforms", "heads", head_bytes, count * size)
    raw = stream.read(head_bytes)
    heads = [raw[i : i + size] for i in range(0, head_bytes, size)]
    lengths = [waveform_bytes(head) for head in heads]
    _agree("waveforms", "samples", data_bytes, sum(lengths))
    return [
        Passenger(Id.WAVEFORM, head + stream.read(n))
        for head, n in zip(heads, lengths, strict=True)
    ]


def _agree(part: str, what: str, told: int, expected: int) -> None:
    if told != expected:
        raise ProtocolError(f"bucket {part}: {what} of {told} bytes, its heads say {expected}")


# FOLDED gadget/protocol/arrays.py: ReconData and ImageArray, read only to know where they end, and kept as they came.
COMPLEX, REAL = 8, 4
SAMPLING_DESCRIPTION = 56
FLAG = struct.Struct("<B")


class Tape:
    """A stream that remembers what was read from it, up to the limit of a message."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.limits: Limits = stream.limits
        self.recorded = bytearray()

    def read(self, n_bytes: int) -> bytearray:
        """Read, and remember."""
        checked("array", len(self.recorded) + n_bytes, self.limits.message)
        data = self._stream.read(n_bytes)
        self.recorded += data
        return data

    def number(self, kind: struct.Struct) -> int:
        """Return one number."""
        return kind.unpack(self.read(kind.size))[0]


def read_recon_data(stream: Stream) -> Passenger:
    """Read the payload of buffered k-space: per encoding space data, and reference if any."""
    tape = Tape(stream)
    for _ in range(tape.number(UINT64)):
        _buffer(tape)
        _optional(tape, _buffer)
    return Passenger(Id.RECON_DATA, tape.recorded)


def read_image_array(stream: Stream) -> Passenger:
    """Read the payload of an image array."""
    tape = Tape(stream)
    _array(tape, COMPLEX)
    _array(tape, image_header_dtype.itemsize)
    for _ in range(tape.number(UINT64)):
        tape.read(tape.number(UINT64))
    _optional(tape, _waveforms)
    _optional(tape, lambda t: _array(t, HEAD_DTYPE.itemsize))
    return Passenger(Id.IMAGE_ARRAY, tape.recorded)


def _buffer(tape: Tape) -> None:
    """Read samples, trajectory, density, heads, sampling description."""
    _array(tape, COMPLEX)
    _optional(tape, lambda t: _array(t, REAL))
    _optional(tape, lambda t: _array(t, REAL))
    _array(tape, HEAD_DTYPE.itemsize)
    tape.read(SAMPLING_DESCRIPTION)


def _array(tape: Tape, element_bytes: int) -> None:
    n_dims = checked("array dimensions", tape.number(UINT64), 16)
    sizes = [tape.number(UINT64) for _ in range(n_dims)]
    tape.read(element_bytes * math.prod(sizes) if sizes else 0)


def _optional(tape: Tape, read: Callable[[Tape], None]) -> None:
    if tape.number(FLAG):
        read(tape)


def _waveforms(tape: Tape) -> None:
    for _ in range(tape.number(UINT64)):
        tape.read(waveform_bytes(tape.read(WAVEFORM_HEAD.itemsize)))
