"""Which images of a scan a picture shows, and the mosaic of them as PNG."""

import base64
import struct
import zlib
from collections.abc import Sequence

import numpy as np

from jrsr_core.drawing import encode_png, mosaic, png_chunk, to_grey

MAX_TILES = 64


def pick_tiles(n_images: int) -> set[int]:
    """Return which images of a scan a picture shows: all, or evenly spread ones."""
    n = min(n_images, MAX_TILES)
    return {round(i) for i in np.linspace(0, n_images - 1, n)} if n else set()


def central_planes(image: np.ndarray) -> list[np.ndarray]:
    """Return an image ``(y, x)``, or the planes y-x, z-x and z-y through the centre of a volume.

    Planes are padded with zeros to one size.
    """
    if image.ndim == 2:
        return [image]
    z, y, x = (n // 2 for n in image.shape)
    planes = [image[z], image[:, y], image[:, :, x]]
    size = [max(p.shape[axis] for p in planes) for axis in (0, 1)]
    return [np.pad(p, [(0, n - m) for n, m in zip(size, p.shape, strict=True)]) for p in planes]


def magnitude_mosaic(images: Sequence[np.ndarray]) -> bytes:
    """PNG of magnitudes ``(y, x)`` on one grey scale."""
    top = float(np.quantile(np.concatenate([image.ravel() for image in images]), 0.995))
    return encode_png(mosaic([to_grey(image, top) for image in images]))


# FOLDED gadget/export/small_png.py: PNG of one byte per pixel, small enough for many in one page: filtered rows, optional palette.
# Dark to light, in equal steps of lightness, told apart by the colour-blind as well.
_NODES = ((0, 0, 4), (60, 15, 110), (150, 38, 103), (225, 85, 45), (250, 175, 40), (252, 250, 190))


def heat_palette() -> np.ndarray:
    """Return 256 colours from black over purple and orange to light yellow, uint8 ``(256, 3)``."""
    places = np.linspace(0, 255, len(_NODES))
    channels = [np.interp(np.arange(256), places, column) for column in zip(*_NODES, strict=True)]
    return np.stack(channels, axis=1).round().astype(np.uint8)


def encode_small(pixels: np.ndarray, palette: np.ndarray | None = None) -> bytes:
    """Encode uint8 ``(y, x)``, grey or an index into `palette` ``(n, 3)``."""
    height, width = pixels.shape
    color = 0 if palette is None else 3
    colors = b"" if palette is None else png_chunk(b"PLTE", palette.astype(np.uint8).tobytes())
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0)),
            colors,
            png_chunk(b"IDAT", zlib.compress(_filtered(pixels), 9)),
            png_chunk(b"IEND", b""),
        )
    )


def data_uri(png: bytes) -> str:
    """Return a picture as the text that a page holds in place of an address."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _filtered(pixels: np.ndarray) -> bytes:
    """Rows with their filter types in front: none, left, up, average, Paeth."""
    x = pixels.astype(np.int16)
    padded = np.pad(x, ((1, 0), (1, 0)))
    left, up, corner = padded[1:, :-1], padded[:-1, 1:], padded[:-1, :-1]
    guesses = (0, left, up, (left + up) // 2, _paeth(left, up, corner))
    rows = np.stack([(x - guess).astype(np.uint8) for guess in guesses])
    cost = np.abs(rows.view(np.int8).astype(np.int16)).sum(-1)
    best = cost.argmin(0)
    chosen = rows[best, np.arange(len(best))]
    return np.concatenate((best[:, None].astype(np.uint8), chosen), axis=1).tobytes()


def _paeth(left: np.ndarray, up: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """Return of left, up and corner the one nearest to left + up - corner, in this order."""
    guess = left + up - corner
    distances = [np.abs(guess - v) for v in (left, up, corner)]
    nearest = np.where(distances[1] <= distances[2], up, corner)
    is_left = (distances[0] <= distances[1]) & (distances[0] <= distances[2])
    return np.where(is_left, left, nearest)
