"""The measurements of a Siemens file and the readouts of one: where they are, not their samples.

VB        header of the protocol; for each readout and channel a header (sMDH) and samples
VD, VE    table of measurements; each has the protocol, and for each readout one header, and for
          each channel a short header and samples
"""

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from gadget.errors import UsageError
from jrsr_core.mrd.errors import BadScan

MAX_PROTOCOL = 2**24
"""Bytes of the longest protocol that is parsed."""

MAX_READOUTS = 2**24

MAX_WORD = 2**16
"""Bytes without a space in a protocol: parsing them takes the square of their number."""

VB_CHANNEL_ID, VD_CHANNEL_ID = 124, 24
"""Places of the receiver channel in the header of a channel."""

ACQUISITION_END, SYNCHRONOUS = 1 << 0, 1 << 5
"""Flags of readouts that hold no samples of coils."""


@dataclass(frozen=True)
class Measurement:
    """One measurement of a file: its number from 1, and the bytes it takes."""

    number: int
    start: int
    stop: int
    is_vb: bool
    protocol_name: str = ""


@dataclass(frozen=True, eq=False)
class Readouts:
    """Readouts of a measurement.

    `heads` are their headers ``(n,)`` with Siemens' names, `offsets` their places in the file,
    `channel_ids` the receiver channels of the first image readout. `is_whole` tells whether the
    end of the measurement was found.
    """

    measurement: Measurement
    heads: np.ndarray
    offsets: np.ndarray
    channel_ids: tuple[int, ...]
    is_whole: bool


def require_twixtools() -> None:
    """Raise `UsageError` if the optional library is not installed."""
    try:
        import twixtools  # noqa: F401
    except ImportError:
        raise UsageError(
            'Siemens raw data need twixtools: pip install "gadgetron-jrsr[siemens]"'
        ) from None


def find_measurements(path: Path) -> list[Measurement]:
    """Return the measurements of a file.

    Raises
    ------
    BadScan
        A table that leads out of the file.
    """
    from twixtools.hdr_def import MultiRaidFileHeader

    size = path.stat().st_size
    with path.open("rb") as file:
        table = file.read(MultiRaidFileHeader.itemsize)
    _, second = np.frombuffer(table[:8], "<u4")
    if table[8:].split(b"\0")[0].isalnum() and len(table[8:].split(b"\0")[0]) >= 4:
        return [Measurement(1, 0, size, is_vb=True)]
    if len(table) < MultiRaidFileHeader.itemsize:
        raise BadScan("the table of measurements is cut off")
    entries = np.frombuffer(table, MultiRaidFileHeader)[0]["entry"][: int(second)]
    found = []
    for number, entry in enumerate(entries, 1):
        start, length = int(entry["off_"]), int(entry["len_"])
        # A file with one measurement may leave its length 0; a copy may be cut off.
        stop = min(start + length, size) if length or len(entries) > 1 else size
        if not len(table) <= start < size:
            raise BadScan(f"measurement {number} begins at byte {start}, the file has {size}")
        name = entry["protName_"].split(b"\0")[0].decode("latin1")
        found.append(Measurement(number, start, stop, is_vb=False, protocol_name=name))
    return found


def read_protocol(path: Path, measurement: Measurement) -> dict[str, Any]:
    """Return the protocol of a measurement: part -> name -> value, as twixtools parses it.

    Raises
    ------
    BadScan
        A protocol that is too long, cut off, or cannot be parsed.
    """
    from twixtools.twixprot import parse_twix_hdr

    with path.open("rb") as file:
        length = protocol_bytes(file, measurement)
        file.seek(measurement.start)
        if max(map(len, file.read(length).split()), default=0) > MAX_WORD:
            raise BadScan(f"a word of the protocol is longer than {MAX_WORD} bytes")
        file.seek(measurement.start)
        # twixtools prints its warnings, and raises nearly anything on broken protocols.
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                return dict(parse_twix_hdr(file))
        except MemoryError:
            raise
        except Exception as error:
            text = " ".join(f"{type(error).__name__}: {error}".split())
            raise BadScan(f"twixtools cannot read the protocol ({text})") from None


def protocol_bytes(file: IO[bytes], measurement: Measurement) -> int:
    """Return the length of the protocol; raises `BadScan` if it is no possible one."""
    file.seek(measurement.start)
    length = int.from_bytes(file.read(4), "little")
    room = measurement.stop - measurement.start
    if not 12 <= length <= min(MAX_PROTOCOL, room):
        raise BadScan(f"a protocol of {length} bytes, at most {min(MAX_PROTOCOL, room)} can be")
    return length


def read_readouts(path: Path, measurement: Measurement) -> Readouts:
    """Find the readouts of a measurement; those behind its end mark are left out.

    Raises
    ------
    BadScan
        More readouts than are accepted.
    """
    from twixtools import mdh_def

    structure: Any = mdh_def.VB17_header if measurement.is_vb else mdh_def.Scan_header
    kind = np.dtype(structure)
    raw, offsets, is_whole = [], [], False
    ids: tuple[int, ...] = ()
    with path.open("rb") as file:
        start = measurement.start + protocol_bytes(file, measurement)
        for offset, head, is_whole in _walk(file, start, measurement, kind):
            if is_whole:
                break
            raw.append(head)
            offsets.append(offset)
            if len(raw) > MAX_READOUTS:
                raise BadScan(f"more than {MAX_READOUTS} readouts")
        heads = np.frombuffer(b"".join(raw), kind)
        if len(heads):
            ids = _channel_ids(file, offsets[-1], heads[-1], measurement.is_vb)
    return Readouts(measurement, heads, np.array(offsets, np.int64), ids, is_whole)


def channel_layout(head: np.void, is_vb: bool) -> tuple[int, int, int]:
    """Return the bytes in front of the first channel, of a channel's header, and of its samples."""
    n_samples = 8 * int(head["SamplesInScan"])
    return (0, head.dtype.itemsize, n_samples) if is_vb else (head.dtype.itemsize, 32, n_samples)


def _walk(
    file: IO[bytes], start: int, measurement: Measurement, kind: np.dtype
) -> Iterator[tuple[int, bytes, bool]]:
    """Yield place and header of every readout; True with the end mark, the last one."""
    offset = start
    while offset + kind.itemsize <= measurement.stop:
        file.seek(offset)
        stored = file.read(kind.itemsize)
        head = np.frombuffer(stored, kind)[0]
        flags = int(head["EvalInfoMask"])
        if flags & ACQUISITION_END:
            yield offset, stored, True
            return
        if flags & SYNCHRONOUS:
            length = int(head["FlagsAndDMALength"]) % 2**25
        else:
            before, header, samples = channel_layout(head, measurement.is_vb)
            length = before + int(head["UsedChannels"]) * (header + samples)
        if length < kind.itemsize or offset + length > measurement.stop:
            return
        if not flags & SYNCHRONOUS:
            yield offset, stored, False
        offset += length


def _channel_ids(file: IO[bytes], offset: int, head: np.void, is_vb: bool) -> tuple[int, ...]:
    """Return the number of the receiver channel of every coil of a readout."""
    before, header, samples = channel_layout(head, is_vb)
    place = VB_CHANNEL_ID if is_vb else VD_CHANNEL_ID
    found = []
    for i in range(int(head["UsedChannels"])):
        file.seek(offset + before + i * (header + samples) + place)
        found.append(int.from_bytes(file.read(2), "little"))
    return tuple(found)
