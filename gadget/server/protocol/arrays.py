"""ReconData and ImageArray: read only to find their end, and forwarded as they came."""

import math
import struct
from collections.abc import Callable

from ismrmrd.hdf5 import image_header_dtype

from jrsr_core.mrd.lines.acquired import HEAD_DTYPE

from .messages import WAVEFORM_HEAD, ForwardedMessage, waveform_bytes
from .wire import UINT64, Id, Stream, checked

COMPLEX, REAL = 8, 4
"""Bytes of an element."""

SAMPLING_DESCRIPTION = 56
"""Bytes of the sampling description of a buffer."""

FLAG = struct.Struct("<B")


class Recorder:
    """Reads from a stream and keeps what it has read, up to the limit of a message."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.recorded = bytearray()

    def read(self, n_bytes: int) -> bytearray:
        """Return so many bytes."""
        checked("array", len(self.recorded) + n_bytes, self._stream.limits.message)
        data = self._stream.read(n_bytes)
        self.recorded += data
        return data

    def number(self, kind: struct.Struct) -> int:
        """Return one number."""
        return kind.unpack(self.read(kind.size))[0]


def read_recon_data(stream: Stream) -> ForwardedMessage:
    """Read the payload of buffered k-space: per encoding space data, and reference if any."""
    recorder = Recorder(stream)
    for _ in range(recorder.number(UINT64)):
        _buffer(recorder)
        _optional(recorder, _buffer)
    return ForwardedMessage(Id.RECON_DATA, recorder.recorded)


def read_image_array(stream: Stream) -> ForwardedMessage:
    """Read the payload of an image array."""
    recorder = Recorder(stream)
    _array(recorder, COMPLEX)
    _array(recorder, image_header_dtype.itemsize)
    for _ in range(recorder.number(UINT64)):
        recorder.read(recorder.number(UINT64))
    _optional(recorder, _waveforms)
    _optional(recorder, lambda t: _array(t, HEAD_DTYPE.itemsize))
    return ForwardedMessage(Id.IMAGE_ARRAY, recorder.recorded)


def _buffer(recorder: Recorder) -> None:
    """Read samples, trajectory, density, headers, sampling description."""
    _array(recorder, COMPLEX)
    _optional(recorder, lambda t: _array(t, REAL))
    _optional(recorder, lambda t: _array(t, REAL))
    _array(recorder, HEAD_DTYPE.itemsize)
    recorder.read(SAMPLING_DESCRIPTION)


def _array(recorder: Recorder, element_bytes: int) -> None:
    n_dims = checked("array dimensions", recorder.number(UINT64), 16)
    sizes = [recorder.number(UINT64) for _ in range(n_dims)]
    recorder.read(element_bytes * math.prod(sizes) if sizes else 0)


def _optional(recorder: Recorder, read: Callable[[Recorder], None]) -> None:
    if recorder.number(FLAG):
        read(recorder)


def _waveforms(recorder: Recorder) -> None:
    for _ in range(recorder.number(UINT64)):
        recorder.read(waveform_bytes(recorder.read(WAVEFORM_HEAD.itemsize)))
