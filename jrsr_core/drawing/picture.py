"""PNG pictures: tiles, captions, a mosaic. Grey or RGB, 8 bits, without an image library."""

import math
import struct
import zlib
from collections.abc import Sequence

import numpy as np

from .font import HEIGHT, draw_text


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


def in_corner(tile: np.ndarray, text: str, scale: int = 2) -> np.ndarray:
    """Return a copy of a tile with white text on black in its lower right corner."""
    glyphs = np.where(draw_text(text, scale), 255, 0).astype(np.uint8)
    label = np.pad(glyphs, 2 * scale)[-tile.shape[0] :, -tile.shape[1] :]
    marked = tile.copy()
    marked[-label.shape[0] :, -label.shape[1] :] = label
    return marked


def framed(tile: np.ndarray, y: int, x: int, size: int) -> np.ndarray:
    """Return a copy of a tile with a white frame around ``[y : y + size, x : x + size]``."""
    marked = tile.copy()
    rows, columns = slice(y, y + size), slice(x, x + size)
    marked[[y, y + size - 1], columns] = 255
    marked[rows, [x, x + size - 1]] = 255
    return marked


def enlarged(tile: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Repeat pixels as often as they fit into `shape`; the rest of it is black."""
    factor = max(1, min(n // m for n, m in zip(shape, tile.shape, strict=True)))
    big = tile.repeat(factor, 0).repeat(factor, 1)[: shape[0], : shape[1]]
    return np.pad(big, [(0, n - m) for n, m in zip(shape, big.shape, strict=True)])
