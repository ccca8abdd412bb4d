"""One message of every kind, as Gadgetron writes it."""

import numpy as np

from jrsr_core.mrd.lines.acquired import CALIBRATION, CALIBRATION_AND_IMAGING, flag_bits
from tests.helpers import layouts

from .mrd_scans import small_scan


def some_lines(n: int = 4, trajectory: int = 0) -> list[tuple[np.void, np.ndarray]]:
    """Lines of a small scan, ``(head, samples)``."""
    _, _, _, lines = small_scan((16, 16), n_coils=3)
    heads = lines.heads[:n].copy()
    heads["trajectory_dimensions"] = trajectory
    return [(heads[i], lines.data[i]) for i in range(n)]


def with_flags(line: tuple, *flags: int) -> tuple[np.void, np.ndarray]:
    head = line[0].copy()
    head["flags"] |= np.uint64(flag_bits(*flags))
    return head, line[1]


def some_waveforms() -> list[np.ndarray]:
    return [np.arange(15, dtype="<u4").reshape(3, 5), np.full((1, 7), 2**32 - 1, "<u4")]


def pixels(kind: str = "<f4", shape: tuple = (2, 1, 3, 4)) -> np.ndarray:
    return np.arange(np.prod(shape)).reshape(shape).astype(kind)


def buffered(seed: int = 0) -> np.ndarray:
    """``[E0,E1,E2,CHA,N,S,LOC]``."""
    random = np.random.default_rng(seed)
    return random.normal(size=(6, 4, 1, 2, 1, 1, 2)).astype("<c8")


def recon_data() -> bytes:
    """Two encoding spaces: one with a reference and a trajectory, one that no line has used."""
    trajectory = np.ones((2, 6, 4, 1, 1, 1, 2), "<f4")
    used = (layouts.recon_buffer(buffered(), trajectory), layouts.recon_buffer(buffered(1)))
    return layouts.recon_data(used, (layouts.recon_buffer(np.zeros((), "<c8")), None))


def image_array(waveforms: bool = True) -> bytes:
    meta = ["<ismrmrdMeta/>", "<m>Müller</m>"]
    data = np.ones((4, 3, 1, 2, 1, 1, 2), "<c8") * (1 + 2j)
    return layouts.image_array(data, meta, some_waveforms() if waveforms else None)


def bucket() -> bytes:
    """Lines, reference lines, lines that are both, waveforms, and an unused encoding space."""
    a, b, c, d = some_lines(4)
    both = with_flags(b, CALIBRATION_AND_IMAGING)
    reference = [both, with_flags(c, CALIBRATION), with_flags(d, CALIBRATION)]
    return layouts.bucket([a, both], reference, some_waveforms(), n_spaces=2)


def passengers() -> dict[str, bytes]:
    """Messages that we only forward."""
    found = {f"image {kind}": layouts.image(pixels(kind), b"<m>\xc3\xbc</m>") for kind in KINDS}
    return found | {
        "image without attributes": layouts.image(pixels()),
        "waveform": layouts.waveform(some_waveforms()[0]),
        "empty waveform": layouts.waveform(np.zeros((0, 0), "<u4")),
        "recon data": recon_data(),
        "no recon data": layouts.recon_data(),
        "image array": image_array(),
        "image array without waveforms": image_array(waveforms=False),
    }


KINDS = tuple(layouts.PIXELS.values())


def all_messages() -> dict[str, bytes]:
    """Every kind of message that Gadgetron or a client may send."""
    line, *_ = some_lines()
    (bent,) = some_lines(1, trajectory=2)
    return passengers() | {
        "acquisition": layouts.acquisition(*line),
        "acquisition with trajectory": layouts.acquisition(*bent),
        "bucket": bucket(),
        "bucket of trajectories": layouts.bucket(some_lines(3, trajectory=3)),
        "empty bucket": layouts.bucket(n_spaces=0),
        "text": layouts.text("Grüße"),
        "query": layouts.query(5, "health"),
    }
