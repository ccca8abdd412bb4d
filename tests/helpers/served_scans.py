"""Scans for the peers: on disk, as messages, and the images that their file gives."""

from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

from gadget.offline.recon import ReconRequest, reconstruct_files
from gadget.settings import Settings
from jrsr_core.mrd.header.scan_header import ScanHeader, parse_header
from jrsr_core.mrd.lines.acquired import NOISE, LineList, has_flag
from jrsr_core.mrd.simulator.request import ScanRequest
from tests.helpers import layouts

from .layouts import Image
from .live_scans import in_buckets, simulated
from .messages import some_waveforms
from .mrd_scans import select
from .peer import CHEAP, line_messages

DEPENDENCY = (
    "<measurementDependency><dependencyType>Noise</dependencyType>"
    "<measurementID>simulator_phantom_1_1</measurementID></measurementDependency>"
)
SMALL = {"matrix": "64x72", "n_coils": 4, "acs": 16, "mask": "regular", "acceleration": 2}


@dataclass
class Served:
    """A scan and what is to come of it, `expected`, by settings."""

    folder: Path
    header: ScanHeader
    lines: LineList
    _expected: dict[tuple, list[tuple[bytes, bytes]]] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        return self.folder / "scan.h5"

    @property
    def lines_alone(self) -> list[bytes]:
        return [*line_messages(self.lines), layouts.close()]

    @property
    def buckets(self) -> list[bytes]:
        """Buckets of slices, the first with waveforms; one unused encoding space in each."""
        buckets = [list(zip(b.heads, b.data, strict=True)) for b in in_buckets(self.lines)]
        waves = [some_waveforms()] + [[]] * (len(buckets) - 1)
        made = [layouts.bucket(b, (), w, n_spaces=2) for b, w in zip(buckets, waves, strict=True)]
        return [*made, layouts.close()]

    def expected(self, **options: object) -> list[tuple[bytes, bytes]]:
        """Header without meta, and pixels, of `jrsr recon` on the file."""
        key = tuple(sorted(options.items()))
        if key not in self._expected:
            out = self.folder / f"{len(self._expected)}.h5"
            settings = Settings(**CHEAP | options)
            reconstruct_files(ReconRequest([self.path], settings, out, ["mrd"]))
            with h5py.File(out) as file:
                group = file["dataset/image_1"]
                pairs = zip(group["header"][()], group["data"][()], strict=True)
                self._expected[key] = [(h.tobytes(), d.tobytes()) for h, d in pairs]
        return self._expected[key]


def serve(folder: Path, **options: object) -> Served:
    header, lines = simulated(ScanRequest(**SMALL | options), folder)
    return Served(folder, header, lines)


def apart(scan: Served) -> tuple[list[bytes], list[bytes], str]:
    """Messages of the noise lines, and of all others; a header that names the measurement."""
    is_noise = has_flag(scan.lines.heads, NOISE)
    noise, image = (
        line_messages(select(scan.lines, np.flatnonzero(w))) for w in (is_noise, ~is_noise)
    )
    xml = scan.header.xml.replace("</measurementID>", "</measurementID>" + DEPENDENCY, 1)
    assert parse_header(xml).noise_measurement_id == "simulator_phantom_1_1"
    return noise, image, xml


def as_in_file(image: Image) -> tuple[bytes, bytes]:
    """Header and pixels of an image from the wire."""
    head = image.head.copy()
    return np.array(head).tobytes(), image.pixels.tobytes()


def assert_images(images: list[Image], expected: list[tuple[bytes, bytes]]) -> None:
    """Header and pixels are those of the file, byte for byte, in the same order."""
    assert len(images) == len(expected)
    for image, (head, pixels) in zip(images, expected, strict=True):
        assert image.pixels.tobytes() == pixels
        ours = image.head.copy()
        theirs = np.frombuffer(head, layouts.IMAGE_HEAD)[0].copy()
        # The text of the attributes holds times, whose digits vary.
        ours["attribute_string_len"] = theirs["attribute_string_len"] = 0
        assert ours.tobytes() == theirs.tobytes()
