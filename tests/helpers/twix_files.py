"""Siemens files of VB and VD, written byte by byte from simulated lines.

Offsets are those of the scanner's headers: sMDH of VB (128 bytes per channel), and of VD and VE
sScanHeader (192 bytes per readout) with sChannelHeader (32 bytes per channel).
"""

import struct
from pathlib import Path

import numpy as np

from jrsr_core.mrd.header.encoding import Encoding
from jrsr_core.mrd.lines.acquired import (
    CALIBRATION,
    CALIBRATION_AND_IMAGING,
    NOISE,
    PHASE_CORRECTION,
    REVERSE,
    LineList,
    has_flag,
)

BITS = {
    NOISE: 25,
    CALIBRATION: 22,
    CALIBRATION_AND_IMAGING: 23,
    REVERSE: 24,
    PHASE_CORRECTION: 21,
}
COUNTERS = ("kspace_encode_step_1", "average", "slice", "kspace_encode_step_2", "contrast")
MORE_COUNTERS = ("phase", "repetition", "set", "segment")


def protocol_text(encoding: Encoding, name: str, **changes: object) -> str:
    """Return a protocol in ASCCONV form."""
    nz, ny, nx = encoding.encoding_matrix
    z, y, x = encoding.recon_fov_mm
    values = {
        "tProtocolName": f'"{name}"',
        "sSliceArray.asSlice[0].dThickness": z,
        "sSliceArray.asSlice[0].dPhaseFOV": y,
        "sSliceArray.asSlice[0].dReadoutFOV": x,
        "sKSpace.lBaseResolution": nx // 2,
        "sKSpace.lPhaseEncodingLines": ny,
        "sKSpace.lPartitions": nz,
        "sKSpace.ucTrajectory": "0x1",
        "sKSpace.dPhaseOversamplingForDialog": encoding.encoding_fov_mm[1] / y - 1,
        "sPat.lAccelFactPE": encoding.acceleration[0],
        "sPat.ucRefScanMode": {"embedded": 2, "separate": 4}.get(encoding.calibration_mode, 1),
        "alTR[0]": 500000,
        "alTE[0]": 10000,
        "adFlipAngleDegree[0]": 15,
        "sRXSPEC.alDwellTime[0]": 5000,
        "flReadoutOSFactor": encoding.encoding_fov_mm[2] / x,
        "flMagneticFieldStrength": 2.89362,
        "lFrequency": 123263254,
        "tPatientPosition": '"HFS"',
    } | changes
    lines = "".join(f"{key} = {value}\n" for key, value in values.items() if value is not None)
    return f"### ASCCONV BEGIN ###\n{lines}### ASCCONV END ###\n"


def protocol_bytes(text: str) -> bytes:
    """Return a protocol of one part, as it lies in front of the readouts."""
    body = b"MeasYaps\0" + struct.pack("<I", len(text)) + text.encode("latin1")
    length = -(-(8 + len(body)) // 64) * 64
    return struct.pack("<II", length, 1) + body.ljust(length - 8, b"\0")


def quaternion(head: np.void) -> np.ndarray:
    """Return the rotation with columns phase, read and slice direction, scalar first."""
    matrix = np.stack([head["phase_dir"], head["read_dir"], head["slice_dir"]], 1).astype(float)
    # The last eigenvector of a symmetric matrix: Bar-Itzhack, J. Guid. Control Dyn. 2000;23:1085.
    (a, b, c), (d, e, f), (g, h, i) = matrix
    k = np.array(
        [
            [a - e - i, b + d, c + g, h - f],
            [b + d, e - a - i, f + h, c - g],
            [c + g, f + h, i - a - e, d - b],
            [h - f, c - g, d - b, a + e + i],
        ]
    )
    x, y, z, w = np.linalg.eigh(k / 3)[1][:, -1]
    return np.array([w, x, y, z])


def measured_bytes(lines: LineList, center: tuple[int, int], *, is_vb: bool) -> bytes:
    """Return readouts and the end mark."""
    parts = []
    for i, head in enumerate(lines.heads):
        data = np.ascontiguousarray(lines.data[i], "<c8")
        ids = range(len(data))
        first = _vb_head if is_vb else _vd_head
        mask = sum(1 << bit for flag, bit in BITS.items() if has_flag(head[None], flag)[0])
        if is_vb:
            for channel in ids:
                parts += [first(head, mask, center, channel), data[channel].tobytes()]
            continue
        parts.append(first(head, mask, center, 0))
        for channel in ids:
            # Receiver channels need not be numbered without gaps.
            parts += [struct.pack("<IiIiIIHHI", 0, 1, 1, 0, 0, 0, 3 * channel, 0, 0)]
            parts.append(data[channel].tobytes())
    end = _vb_head(None, 1, (0, 0), 0) if is_vb else _vd_head(None, 1, (0, 0), 0)
    return b"".join([*parts, end, b"\0" * 160])


def write_vb(path: Path, text: str, lines: LineList, center: tuple[int, int]) -> None:
    """Write a file of VB: one measurement."""
    path.write_bytes(protocol_bytes(text) + measured_bytes(lines, center, is_vb=True))


def write_vd(path: Path, measurements: list[tuple[str, str, LineList, tuple[int, int]]]) -> None:
    """Write a file of VD: measurements as (name, protocol, lines, centre)."""
    bodies = [
        protocol_bytes(text) + measured_bytes(lines, center, is_vb=False)
        for _, text, lines, center in measurements
    ]
    table, start = struct.pack("<II", 0, len(bodies)), 10240
    for number, ((name, *_), body) in enumerate(zip(measurements, bodies, strict=True), 7):
        entry = (number, 0, start, len(body), b"xx", name.encode())
        table += struct.pack("<IIQQ64s64s", *entry)
        start += -(-len(body) // 512) * 512
    padded = b"".join(body.ljust(-(-len(body) // 512) * 512, b"\0") for body in bodies)
    path.write_bytes(table.ljust(10240, b"\0") + padded)


def _counters(head: np.void) -> tuple[int, ...]:
    idx = head["idx"]
    return (*(int(idx[n]) for n in (*COUNTERS, *MORE_COUNTERS)), 0, 0, 0, 0, 0)


def _common(head: np.void, mask: int) -> bytes:
    """EvalInfoMask to CenterCol, as VB and VD have them."""
    if head is None:
        return struct.pack("<QHH14H2HH", mask, 0, 0, *[0] * 14, 0, 0, 0)
    sizes = (int(head["number_of_samples"]), int(head["active_channels"]))
    cut = (int(head["discard_pre"]), int(head["discard_post"]))
    return struct.pack(
        "<QHH14H2HH", mask, *sizes, *_counters(head), *cut, int(head["center_sample"])
    )


def _place(head: np.void) -> bytes:
    if head is None:
        return b"\0" * 28
    return struct.pack("<7f", *head["position"].tolist(), *quaternion(head))


def _vd_head(head: np.void, mask: int, center: tuple[int, int], _: int) -> bytes:
    number = 0 if head is None else int(head["scan_counter"])
    start = struct.pack("<IiIIIHHiiii", 352, 7, number, 100, 200, 0, 0, 1500, -2500, -1045016, 0)
    middle = struct.pack("<HfIHH", 0, 0.0, 0, *center)
    return (start + _common(head, mask) + middle + _place(head)).ljust(192, b"\0")


def _vb_head(head: np.void, mask: int, center: tuple[int, int], channel: int) -> bytes:
    number = 0 if head is None else int(head["scan_counter"])
    start = struct.pack("<IiIII", 128, 7, number, 100, 200)
    middle = struct.pack("<HfIHH", 0, 0.0, 0, *center) + b"\0" * 16
    return start + _common(head, mask) + middle + _place(head) + struct.pack("<HH", channel, 0)
