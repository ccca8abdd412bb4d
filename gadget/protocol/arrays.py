"""ReconData and ImageArray, read only to know where they end, and kept as they came.

    vector    uint64 n, n items          array     vector of uint64 sizes, elements
    optional  1 byte, the value if 1     text      uint64 n, n bytes

An array of no dimensions has no elements; Gadgetron sends one for an unused encoding space.
"""

import math
import struct
from collections.abc import Callable

from ismrmrd.hdf5 import image_header_dtype

from jrsr_core.mrd.lines import HEAD_DTYPE

from .messages import WAVEFORM_HEAD, Passenger, waveform_bytes
from .wire import UINT64, Id, Limits, Stream, checked

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
