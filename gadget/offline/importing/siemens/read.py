"""Reads one measurement of a Siemens file, with the noise scan that belongs to it."""

from pathlib import Path

import numpy as np

from gadget.errors import UsageError
from gadget.offline.importing.header import is_image_line
from gadget.offline.importing.memory import check_memory
from gadget.offline.importing.scan import ImportedScan, Stated
from jrsr_core.mrd.errors import UnsupportedScan
from jrsr_core.mrd.lines.acquired import CALIBRATION, LineList, has_flag

from .file import Readouts, find_measurements, read_protocol, read_readouts, require_twixtools
from .header import dwell_us, siemens_header
from .lines import NOISE_BIT, SiemensLines, has_bit, line_heads
from .noise import with_noise
from .protocol import Protocol

SAMPLE_BYTES = 8


def read_siemens(path: Path, stated: Stated) -> ImportedScan:
    """Read a measurement; positions, directions and counters are those of its readouts.

    Raises
    ------
    UsageError
        twixtools is not installed; several measurements with images, of which none was chosen.
    BadScan
        A broken file or protocol.
    UnsupportedScan
        No image readouts.
    """
    require_twixtools()
    stated.check_used("Siemens raw data", {"measurement"})
    measured = [read_readouts(path, m) for m in find_measurements(path)]
    chosen = choose(measured, stated.measurement)
    protocol = Protocol(read_protocol(path, chosen.measurement))
    heads = line_heads(chosen, dwell_us(protocol))
    is_image = is_image_line(heads)
    if not is_image.any():
        number = chosen.measurement.number
        raise UnsupportedScan(f"measurement {number} of the file has no image readouts")
    sizes = heads["active_channels"].astype(np.int64) * heads["number_of_samples"]
    check_memory(SAMPLE_BYTES * int(sizes.sum()))
    # Reference lines may have a centre of their own.
    is_own = is_image & ~has_flag(heads, CALIBRATION)
    used = is_own if is_own.any() else is_image
    header_xml = siemens_header(protocol, heads[used], chosen.heads[used])
    lines, notes = LineList(heads, SiemensLines(path, chosen)), []
    if not chosen.is_whole:
        notes.append("the file ends without its end mark: lines may be missing")
    if not has_bit(chosen.heads["EvalInfoMask"], NOISE_BIT).any():
        lines, note = with_noise(path, measured, chosen, lines)
        notes += [note] if note else []
    return ImportedScan(header_xml, lines, tuple(notes))


def choose(measured: list[Readouts], number: int | None) -> Readouts:
    """Return the measurement of this number, or the only one with readouts other than noise.

    Raises
    ------
    UsageError
        No such measurement, or several, which the message lists.
    """
    listed = ", ".join(
        f"{r.measurement.number} ({r.measurement.protocol_name or 'without a name'}, "
        f"{len(r.heads)} readouts)"
        for r in measured
    )
    if number is not None:
        for readouts in measured:
            if readouts.measurement.number == number:
                return readouts
        raise UsageError(f"--measurement: no measurement {number} in the file, found: {listed}")
    wanted = [r for r in measured if not has_bit(r.heads["EvalInfoMask"], NOISE_BIT).all()]
    if len(wanted) > 1:
        raise UsageError(f"choose one of the measurements with --measurement: {listed}")
    if not wanted:
        raise UnsupportedScan(f"no measurement with image readouts in the file, found: {listed}")
    return wanted[0]
