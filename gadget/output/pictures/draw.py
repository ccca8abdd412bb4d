"""Draws pictures of images: grey scale, colours, captions, montage."""

import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SMALLEST = 160
"""Width of a montage's tiles in pixels, up to which they are enlarged by a whole factor."""

BACKGROUND, SOFT, STRONG = 20, 165, 240
"""Grey levels of the background, of further lines of a caption, and of its first line."""

NODES = ((0, 0, 4), (60, 15, 110), (150, 38, 103), (225, 85, 45), (250, 175, 40), (252, 250, 190))
"""Colours from dark to light in equal steps of lightness, for the colour-blind as well."""

NEAREST = Image.Resampling.NEAREST
Caption = Sequence[str]


def to_grey(values: np.ndarray, top: float) -> np.ndarray:
    """Map 0..top to 0..255, uint8."""
    exact = np.nan_to_num(np.asarray(values, np.float64))
    return (np.clip(exact / (top if top > 0 else 1.0), 0, 1) * 255 + 0.5).astype(np.uint8)


def grey_picture(values: np.ndarray, top: float) -> Image.Image:
    """Return the grey picture of magnitudes ``(y, x)`` from 0 to `top`."""
    return Image.fromarray(to_grey(values, top))


def indexed_picture(codes: np.ndarray, palette: np.ndarray) -> Image.Image:
    """Return the picture of uint8 codes ``(y, x)``, which index a palette ``(n, 3)``."""
    picture = Image.fromarray(codes)
    picture.putpalette(palette.astype(np.uint8).tobytes())
    return picture


def heat_palette() -> np.ndarray:
    """Return 256 colours from black over purple and orange to light yellow, uint8 ``(256, 3)``."""
    places = np.linspace(0, 255, len(NODES))
    channels = [np.interp(np.arange(256), places, column) for column in zip(*NODES, strict=True)]
    return np.stack(channels, axis=1).round().astype(np.uint8)


def encode_png(picture: Image.Image) -> bytes:
    """Return the bytes of a PNG file, compressed as far as possible."""
    file = io.BytesIO()
    picture.save(file, "png", optimize=True)
    return file.getvalue()


def montage(
    tiles: Sequence[tuple[Image.Image, Caption]], *, n_columns: int | None = None, footer: str = ""
) -> Image.Image:
    """Return grey tiles row by row, each below its caption.

    Parameters
    ----------
    tiles
        Grey pictures and the lines of their captions. Smaller ones are centred.
    n_columns
        Tiles in a row; by default as many as in a column.
    footer
        A line below all tiles.
    """
    n_columns = n_columns or math.ceil(math.sqrt(len(tiles)))
    widest = max(tile.width for tile, _ in tiles)
    factor = math.ceil(SMALLEST / widest)
    size = min(max(factor * widest // 15, 12), 20)
    font, gap, line = ImageFont.load_default(size), size, round(1.3 * size)
    texts = [math.ceil(font.getlength(text)) for _, lines in tiles for text in lines]
    width = max([factor * widest, *texts])
    head = line * max(len(lines) for _, lines in tiles) + gap // 2
    tallest = factor * max(tile.height for tile, _ in tiles)
    n_rows = math.ceil(len(tiles) / n_columns)
    rows = gap + n_rows * (head + tallest + gap)
    across = max(gap + n_columns * (width + gap), math.ceil(font.getlength(footer)) + 2 * gap)
    shape = (across, rows + (line + gap if footer else 0))
    page = Image.new("L", shape, BACKGROUND)
    draw = ImageDraw.Draw(page)
    for i, (tile, lines) in enumerate(tiles):
        x, y = i % n_columns * (width + gap) + gap, i // n_columns * (head + tallest + gap) + gap
        for n, text in enumerate(lines):
            draw.text((x, y + n * line), text, SOFT if n else STRONG, font)
        picture = tile.resize((factor * tile.width, factor * tile.height), NEAREST)
        left, top = (width - picture.width) // 2, (tallest - picture.height) // 2
        page.paste(picture, (x + left, y + head + top))
    draw.text((gap, rows), footer, SOFT, font)
    return page
