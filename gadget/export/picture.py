"""PNG pictures: one image, a mosaic, captions. Grey or RGB, 8 bits, without an image library."""

import math
import struct
import zlib
from collections.abc import Sequence

import numpy as np

from .font import HEIGHT, draw_text

MAX_TILES = 64


def encode_png(pixels: np.ndarray) -> bytes:
    """Encode uint8 ``(y, x)`` or ``(y, x, 3)`` as PNG (ISO/IEC 15948)."""
    height, width = pixels.shape[:2]
    color = 2 if pixels.ndim == 3 else 0
    rows = np.ascontiguousarray(pixels, np.uint8).reshape(height, -1)
    # Every row starts with its filter type; 0 stores the row as it is.
    raw = np.concatenate((np.zeros((height, 1), np.uint8), rows), axis=1).tobytes()
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0)),
            png_chunk(b"IDAT", zlib.compress(raw, 6)),
            png_chunk(b"IEND", b""),
        )
    )


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """Return one chunk: length, type, body, checksum."""
    checksum = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)


def to_grey(image: np.ndarray, top: float | None = None) -> np.ndarray:
    """Map 0..top to 0..255, uint8; `top` defaults to the 99.5th percentile."""
    top = float(np.quantile(image, 0.995)) if top is None else top
    return (np.clip(image / max(top, 1e-30), 0, 1) * 255 + 0.5).astype(np.uint8)


def captioned(tile: np.ndarray, lines: Sequence[str], scale: int = 2) -> np.ndarray:
    """Put lines of text above a tile, cut at its width."""
    row = (HEIGHT + 3) * scale
    head = np.zeros((row * len(lines) + scale, tile.shape[1]), np.uint8)
    for i, line in enumerate(lines):
        text = draw_text(line, scale)[:, : tile.shape[1] - 2 * scale]
        y, x = i * row + 2 * scale, scale
        head[y : y + text.shape[0], x : x + text.shape[1]] = np.where(text, 255, 0)
    return np.concatenate((head, tile), axis=0)


def mosaic(tiles: Sequence[np.ndarray], n_columns: int | None = None, gap: int = 2) -> np.ndarray:
    """Lay out grey tiles row by row, nearly square by default; smaller tiles are centred."""
    n_columns = n_columns or math.ceil(math.sqrt(len(tiles)))
    height, width = np.max([tile.shape for tile in tiles], axis=0)
    n_rows = math.ceil(len(tiles) / n_columns)
    shape = (n_rows * (height + gap) - gap, n_columns * (width + gap) - gap)
    page = np.full(shape, 32, np.uint8)
    for i, tile in enumerate(tiles):
        y, x = (i // n_columns) * (height + gap), (i % n_columns) * (width + gap)
        y, x = y + (height - tile.shape[0]) // 2, x + (width - tile.shape[1]) // 2
        page[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
    return page


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
