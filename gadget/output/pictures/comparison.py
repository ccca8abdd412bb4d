"""Draws reconstructions beside the truth, with their errors below."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .draw import BACKGROUND, SOFT, STRONG, encode_png, grey_picture, montage

ERROR_GAIN = 5
"""Factor by which errors are brighter than images."""


def draw_comparison(truth: np.ndarray, entries: Sequence[tuple[str, str, np.ndarray]]) -> bytes:
    """Return a PNG of the truth and of reconstructions, and below them of their errors.

    Parameters
    ----------
    truth
        Magnitude ``(y, x)``.
    entries
        Name, score and magnitude ``(y, x)`` of each reconstruction.
    """
    top = float(truth.max())
    size = " x ".join(map(str, truth.shape))
    upper = [(grey_picture(truth, top), ("truth", f"{size} pixels"))]
    lower = [(_explanation(truth.shape), ("", ""))]
    for name, score, magnitude in entries:
        upper.append((grey_picture(magnitude, top), (name, score)))
        error = ERROR_GAIN * np.abs(magnitude - truth)
        lower.append((grey_picture(error, top), (f"error of {name}", f"shown x {ERROR_GAIN}")))
    return encode_png(montage(upper + lower, n_columns=len(upper)))


def _explanation(shape: tuple[int, ...]) -> Image.Image:
    """Return a tile that explains the row of errors, with their grey scale."""
    height, width = shape
    tile = Image.new("L", (width, height), BACKGROUND)
    draw, font = ImageDraw.Draw(tile), ImageFont.load_default(max(width // 17, 8))
    lines = ("Errors:", "absolute difference", "to the truth,", f"{ERROR_GAIN} times as bright")
    draw.multiline_text((0, height // 8), "\n".join(lines), STRONG, font, spacing=5)
    x, y = width * 7 // 8, height * 5 // 8
    for i in range(x):
        draw.line((i, y, i, y + height // 16), 255 * i // (x - 1))
    draw.text((0, y + height // 14), "0", SOFT, font)
    label = f"{100 / ERROR_GAIN:g} % of white"
    draw.text((x, y + height // 14), label, SOFT, font, anchor="ra")
    return tile
