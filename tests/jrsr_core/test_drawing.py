"""PNG pictures: decoded again by hand, because no image library comes with the plugin."""

import struct
import zlib

import numpy as np
import pytest

from jrsr_core.drawing import captioned, encode_png, enlarged, framed, in_corner, mosaic, to_grey
from jrsr_core.drawing.font import GLYPHS, draw_text


def decode(png: bytes) -> np.ndarray:
    """Grey or RGB pixels of a PNG with unfiltered rows."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    position, chunks = 8, {}
    while position < len(png):
        (length,) = struct.unpack(">I", png[position : position + 4])
        kind, body = png[position + 4 : position + 8], png[position + 8 : position + 8 + length]
        (checksum,) = struct.unpack(">I", png[position + 8 + length : position + 12 + length])
        assert checksum == zlib.crc32(kind + body)
        chunks[kind] = body
        position += 12 + length
    width, height, depth, color = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    n_channels = {0: 1, 2: 3}[color]
    assert depth == 8 and b"IEND" in chunks
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, -1)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, n_channels).squeeze(-1 if n_channels == 1 else ())


@pytest.mark.parametrize("shape", [(7, 5), (4, 9, 3)])
def test_png_round_trip(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    np.testing.assert_array_equal(decode(encode_png(pixels)).reshape(shape), pixels)


def test_grey_scale():
    np.testing.assert_array_equal(to_grey(np.array([-1.0, 0, 1, 2, 4]), 2.0), [0, 0, 128, 255, 255])
    assert not to_grey(np.zeros((3, 3))).any()


def test_mosaic_holds_every_tile():
    tiles = [np.full((4, 6), 10 * (i + 1), np.uint8) for i in range(5)]
    page = mosaic(tiles, gap=1)
    assert page.shape == (9, 20)
    assert [int((page == 10 * (i + 1)).sum()) for i in range(5)] == [24] * 5


def test_captions():
    assert all(glyph.shape == (7, 5) and glyph.any() for glyph in GLYPHS.values())
    np.testing.assert_array_equal(draw_text("psnr"), draw_text("PSNR"))
    tile = np.zeros((10, 80), np.uint8)
    page = captioned(tile, ("28.5 dB", "a name that is far too long for the tile"))
    assert page.shape[1] == 80 and page[:-10].any() and not page[-10:].any()


def test_text_in_the_corner_and_a_frame_leave_the_rest_alone():
    tile = np.full((60, 90), 100, np.uint8)
    marked = in_corner(tile, "30.12")
    assert (marked == 255).any() and (marked[:30] == 100).all() and (tile == 100).all()
    assert in_corner(tile, "a text that is far too long for it").shape == tile.shape
    box = framed(tile, 5, 7, 10)
    assert (box[5:15, 7:17] == 255).sum() == 4 * 9
    assert (box == 255).sum() == 4 * 9


def test_enlarged_repeats_whole_pixels():
    part = np.arange(6, dtype=np.uint8).reshape(2, 3)
    big = enlarged(part, (7, 8))
    assert big.shape == (7, 8)
    np.testing.assert_array_equal(big[:4:2, :6:2], part)
    assert not big[4:].any() and not big[:, 6:].any()
    assert enlarged(np.ones((9, 9), np.uint8), (7, 8)).shape == (7, 8)
