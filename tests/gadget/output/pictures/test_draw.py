"""Pictures: which images they show, on which scale, with which words."""

import io

import h5py
import numpy as np
import pytest
from PIL import Image, ImageDraw

from gadget.output.pictures.comparison import draw_comparison
from gadget.output.pictures.draw import (
    BACKGROUND,
    encode_png,
    grey_picture,
    heat_palette,
    indexed_picture,
    montage,
    to_grey,
)
from gadget.output.pictures.planes_png import PlanesPngWriter
from gadget.output.pictures.png import in_proportion
from jrsr_core.spread import spread
from tests.helpers.commands import FAST, jrsr, write_small_scan
from tests.helpers.other_images import an_image


@pytest.fixture
def written(monkeypatch):
    """The texts that are drawn."""
    texts, text = [], ImageDraw.ImageDraw.text

    def note(self, place, words, *args, **kwargs):
        texts.append(words)
        return text(self, place, words, *args, **kwargs)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", note)
    return texts


def test_grey_scale():
    np.testing.assert_array_equal(to_grey(np.array([-1.0, 0, 1, 2, 4]), 2.0), [0, 0, 128, 255, 255])
    assert not to_grey(np.zeros((3, 3)), 0.0).any()


def test_png_round_trip():
    values = np.random.default_rng(0).random((33, 47))
    read = Image.open(io.BytesIO(encode_png(grey_picture(values, 1.0))))
    np.testing.assert_array_equal(np.array(read), to_grey(values, 1.0))
    codes, palette = to_grey(values, 1.0), heat_palette()
    read = Image.open(io.BytesIO(encode_png(indexed_picture(codes, palette)))).convert("RGB")
    np.testing.assert_array_equal(np.array(read), palette[codes])


def test_a_montage_holds_every_tile_and_its_caption(written):
    greys = [60 * (i + 1) for i in range(3)]
    tiles = [(grey_picture(np.full((40, 200), g), 255.0), (f"slice {g}",)) for g in greys]
    page = np.array(montage(tiles, footer="below"))
    assert min((page == g).sum() for g in greys) >= 40 * 200
    assert written == [f"slice {g}" for g in greys] + ["below"]
    assert page[0, 0] == BACKGROUND


def test_small_tiles_are_enlarged_by_whole_pixels():
    part = np.arange(6, dtype=float).reshape(2, 3) * 40
    page = np.array(montage([(grey_picture(part, 255.0), ())]))
    assert page.shape[1] >= 3 * 54
    for value in part.ravel()[1:]:
        assert (page == to_grey(np.array([value]), 255.0)[0]).sum() >= 54**2


def test_a_long_caption_is_not_cut():
    tile = grey_picture(np.ones((40, 40)), 1.0)
    short, long = (
        montage([(tile, ("a",))]),
        montage([(tile, ("a name longer than its tile " * 3,))]),
    )
    assert long.width > 2 * short.width


def test_pixels_keep_their_proportion():
    tile = grey_picture(np.ones((10, 20)), 1.0)
    assert in_proportion(tile, (2.0, 1.0)).size == (20, 20)
    assert in_proportion(tile, (1.0, 1.5)).size == (30, 10)
    assert in_proportion(tile, (1.0, 1.0)) is tile
    assert in_proportion(tile, (1e-3, 1e6)).size == (64 * 20, 10), "bounded, whatever is stated"


def test_a_comparison_names_every_number(written):
    truth = np.random.default_rng(0).random((64, 64))
    png = draw_comparison(truth, [("sense", "PSNR 30.00 dB, SSIM 0.9000", 0.9 * truth)])
    assert Image.open(io.BytesIO(png)).mode == "L"
    for words in ("truth", "sense", "PSNR 30.00 dB, SSIM 0.9000", "error of sense", "shown x 5"):
        assert words in written
    assert not any(text.startswith("error x") for text in written)


def test_every_slice_is_named_and_research_use_said(written, tmp_path, capfd):
    write_small_scan(tmp_path / "scan.h5", n_slices=2)
    assert jrsr(capfd, "recon", tmp_path / "scan.h5", "--format", "png", *FAST).code == 0
    assert written[:2] == ["slice 0", "slice 1"]
    assert written[-1].startswith("scan.h5: ") and "Research use only" in written[-1]


FALLBACK = {"JRSR_fallback": "acs is 2 x 2"}


@pytest.mark.parametrize(
    ("n_images", "fallback", "n_shown", "counts"),
    [
        (64, {5}, 64, ". 1 FALLBACK image"),
        (80, (), 64, ". 64 of 80 images"),
        # The 3rd of 80 images is none of the evenly spread ones, the last one is.
        (80, {2}, 65, ". 65 of 80 images, 1 FALLBACK image"),
        (80, {79}, 64, ". 64 of 80 images, 1 FALLBACK image"),
        (200, range(200), 128, ". 128 of 200 images, 200 FALLBACK images"),
        (3, (), 3, ""),
    ],
)
def test_a_picture_of_many_images_hides_no_fallback_image(
    written, tmp_path, n_images, fallback, n_shown, counts
):
    with PlanesPngWriter(tmp_path / "many.png", "<ismrmrdHeader/>") as writer:
        for i in range(n_images):
            meta = FALLBACK if i in fallback else {}
            writer.write(an_image(1.0 + i, place=5.0 * i, slice=i, image_index=i + 1, meta=meta))
    *captions, footer = written
    assert len(captions) == n_shown and captions[-1].startswith(f"series 1, image {n_images}")
    marked = [text for text in captions if text.endswith(": FALLBACK")]
    assert len(marked) == min(len(fallback), n_shown)
    assert footer == f"many{counts}. Research use only."


def test_a_picture_of_a_volume_counts_its_planes(written, tmp_path):
    with PlanesPngWriter(tmp_path / "one.png", "<ismrmrdHeader/>") as writer:
        writer.write(an_image(shape=(200, 6, 8), meta=FALLBACK))
    *captions, footer = written
    assert captions[-1] == "series 1, plane 200: FALLBACK"
    assert footer == "one. 128 of 200 planes, 200 FALLBACK planes. Research use only."


def test_a_picture_of_a_scan_shows_its_fallback_image(written, tmp_path, capfd):
    """One of 70 repetitions has no finite samples, and is none of the evenly spread ones."""
    options = ("--matrix", "32x36", "--coils", "2", "--acs", "8", "--accel", "2", "--mask")
    scan = tmp_path / "scan.h5"
    command = ("simulate", "-o", scan, *options, "regular", "--repetitions", "70")
    assert jrsr(capfd, *command).code == 0
    sick = min(set(range(70)) - set(spread(70, 64)))
    with h5py.File(scan, "r+") as file:
        data = file["dataset/data"]
        rows = data[()]
        for row in rows[rows["head"]["idx"]["repetition"] == sick]:
            row["data"][:] = np.nan
        data[...] = rows
    assert jrsr(capfd, "recon", scan, "--format", "png", *FAST).code == 3
    assert [text for text in written if "FALLBACK" in text] == [
        f"slice 0, repetition {sick}: FALLBACK",
        f"scan.h5: {FAST[1]}. 65 of 70 images, 1 FALLBACK image. Research use only.",
    ]


def test_a_volume_shows_its_three_planes(written, tmp_path, capfd):
    options = ("--protocol", "wall-16x", "--matrix", "64x56", "--positions", "8", "--coils", "4")
    options += ("--acs", "14", "--accel", "2", "--mask", "regular")
    assert jrsr(capfd, "simulate", "-o", tmp_path / "v.h5", *options).code == 0
    assert jrsr(capfd, "recon", tmp_path / "v.h5", "--format", "png", *FAST).code == 0
    planes = [text for text in written if " at " in text]
    assert [text.split(", at ")[0] for text in planes] == [
        "phase encode x readout",
        "slice encode x readout",
        "slice encode x phase encode",
    ]


def test_a_footer_longer_than_the_tiles_is_whole():
    tile = (grey_picture(np.ones((16, 16)), 1.0), ("name",))
    short, long = (np.asarray(montage([tile], footer="word " * n)) for n in (2, 30))
    assert short.shape[1] == np.asarray(montage([tile])).shape[1] < long.shape[1]
    written = np.flatnonzero((long[-30:] > BACKGROUND).any(0))
    assert written.max() < long.shape[1] - 10
