"""PNG pictures: decoded again by hand, because no image library comes with the plugin."""

import struct
import zlib

import numpy as np
import pytest

from gadget.export.font import GLYPHS, draw_text
from gadget.export.picture import captioned, encode_png, mosaic, pick_tiles, to_grey


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


def test_tiles_are_spread_over_long_scans():
    assert pick_tiles(3) == {0, 1, 2}
    picked = sorted(pick_tiles(1000))
    assert len(picked) == 64 and picked[0] == 0 and picked[-1] == 999
