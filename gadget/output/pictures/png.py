"""Writes the images of a scan as one picture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from gadget.output.base import Result, ScanJob, ScanWriter
from jrsr_core.data import ReconImage
from jrsr_core.mrd.images import white_of

from .draw import Caption, encode_png, grey_picture, montage
from .shown import Shown

MAX_STRETCH = 64.0
"""Largest factor by which an axis of an image is enlarged: the picture stays of a usable size."""

Tile = tuple[np.ndarray, tuple[float, float], Caption]
"""Magnitude ``(y, x)``, pixel size ``(y, x)`` in mm, caption."""


class PngWriter(ScanWriter):
    """Writer of one picture of all images, or of those of a long scan that `Shown` takes."""

    def __init__(self, path: Path, job: ScanJob, *, overwrite: bool) -> None:
        super().__init__(path, job, overwrite=overwrite)
        self._shown = Shown(len(job.plan.groups))
        self._tiles: list[Tile] = []

    def add(self, result: Result) -> None:
        """Add an image, or the three central planes of a volume, if the picture shows it."""
        if not result.map_name and self._shown.takes(is_fallback=result.is_fallback):
            self._tiles += central_planes(result.image, result.caption)

    def content(self) -> bytes:
        """Return the picture, with all images on one grey scale."""
        name = f"{self.job.source.name}: {self.job.settings.model}"
        return encode_png(draw_tiles(self._tiles, self._shown.footer(name)))


def draw_tiles(tiles: Sequence[Tile], footer: str) -> Image.Image:
    """Return a montage of tiles on one grey scale, of volumes three in a row."""
    top = white_of(np.concatenate([values.ravel() for values, *_ in tiles]))
    pictures = [
        (in_proportion(grey_picture(values, top), pixel), lines) for values, pixel, lines in tiles
    ]
    is_volume = any(len(lines) > 1 for *_, lines in tiles)
    return montage(pictures, n_columns=3 if is_volume else None, footer=footer)


def central_planes(image: ReconImage, name: str) -> list[Tile]:
    """Return a 2-D image, or the three planes through the centre of a volume ``(z, y, x)``."""
    values, fov = image.magnitude.cpu().numpy(), image.geometry.fov_mm
    if values.ndim == 2:
        return [(values, (fov[1] / values.shape[0], fov[2] / values.shape[1]), (name,))]
    dz, dy, dx = (size / n for size, n in zip(fov, values.shape, strict=True))
    z, y, x = (n // 2 for n in values.shape)
    return [
        (values[z], (dy, dx), (name, f"phase encode x readout, at slice encode {z}")),
        (values[:, y], (dz, dx), (name, f"slice encode x readout, at phase encode {y}")),
        (values[:, :, x], (dz, dy), (name, f"slice encode x phase encode, at readout {x}")),
    ]


def in_proportion(picture: Image.Image, pixel: tuple[float, float]) -> Image.Image:
    """Return a picture of pixels ``(y, x)`` mm, enlarged along one axis to square pixels.

    Pixels whose sides differ by more than the factor `MAX_STRETCH` are drawn with that factor.
    """
    dy, dx = pixel
    finest = min(dy, dx)
    wider, higher = (min(mm / finest, MAX_STRETCH) for mm in (dx, dy))
    size = (round(picture.width * wider), round(picture.height * higher))
    return picture if size == picture.size else picture.resize(size, Image.Resampling.BICUBIC)
