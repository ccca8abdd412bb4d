"""The report of a scan: complete by itself, true, small."""

import base64
import io
import re
from html import escape
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

from gadget.output.report.chart import nice_top
from gadget.output.report.page import _noise_words as noise_words
from jrsr_core.models.registry import build_model
from jrsr_core.mrd.files.images import ImageFile
from jrsr_core.mrd.files.scan import write_scan
from jrsr_core.weights.card import WeightsCard
from jrsr_core.weights.find import find_card
from jrsr_core.weights.save import save_weights
from tests.helpers.commands import FAST, NO_WEIGHTS, assert_one_line, jrsr, write_small_scan
from tests.jrsr_core.calibration.test_stated_noise import noisy_scan, with_noise_lines

BRAIN = ("--matrix", "72x112", "--coils", "6", "--acs", "16", "--accel", "1.8")

SUBJECT = (
    "<subjectInformation><patientName>&lt;script&gt;alert(3)&lt;/script&gt;</patientName>"
    "</subjectInformation>"
)


class Page(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(self.words)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The page of three slices that the default model made."""
    from gadget.cli import main as cli

    folder = tmp_path_factory.mktemp("report")
    scan = folder / "a<b>&scan.h5"
    assert cli.run(["simulate", "-o", str(scan), "--slices", "3", *BRAIN]) == 0
    assert cli.run(["recon", str(scan), "-o", str(folder / "out.h5"), "--report"]) == 0
    return folder / "out.html"


def test_it_needs_nothing_but_itself(report):
    page = Page(report.read_text())
    assert not [a for tag, a in page.tags if tag in ("script", "link", "iframe")]
    sources = [a["src"] for tag, a in page.tags if tag == "img"]
    assert sources and all(s.startswith("data:image/png;base64,") for s in sources)
    assert not re.search(r"https?://|url\(|@import", report.read_text())
    assert "prefers-color-scheme: dark" in report.read_text()
    assert ("meta", {"name": "viewport", "content": "width=device-width,initial-scale=1"}) in (
        page.tags
    )


def test_pictures_do_not_depend_on_the_scale_of_the_scanner(tmp_path, capfd):
    def louder(xml, lines):
        lines.data[:] = [1024 * line for line in lines.data]
        return xml, lines

    pictures = []
    for name, change in (("plain", None), ("loud", louder)):
        write_small_scan(tmp_path / f"{name}.h5", change)
        out = tmp_path / f"{name}.html"
        assert (
            jrsr(capfd, "recon", tmp_path / f"{name}.h5", "-o", out, "--format", "report").code == 0
        )
        pictures.append([a["src"] for tag, a in Page(out.read_text()).tags if tag == "img"])
    assert pictures[0] == pictures[1]
    assert len(set(pictures[0])) > 4


def test_white_is_where_the_window_of_the_image_ends(tmp_path, capfd):
    write_small_scan(tmp_path / "s.h5")
    command = ("recon", tmp_path / "s.h5", "-o", tmp_path / "out.h5", "--report", *FAST)
    assert jrsr(capfd, *command).code == 0
    (image,) = ImageFile(tmp_path / "out.h5")
    tags = Page((tmp_path / "out.html").read_text()).tags
    source = next(a["src"] for tag, a in tags if tag == "img" and a["class"] == "main")
    shown = np.array(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))))
    exact = 255 * image.data[0, 0] / float(image.meta["WindowWidth"])
    np.testing.assert_allclose(shown, np.clip(exact, 0, 255), atol=0.51)


def test_it_says_what_happened(report):
    text = Page(report.read_text()).text
    card = WeightsCard.read(find_card("jrsr-dc"))
    for words in (
        "a<b>&scan.h5",
        "3 images of 72 x 112",
        "Hallucination map",
        "noise alone explains",
        "as the noise data state it",
        "6 virtual coils",
        "HR matrix size 72 outside {} to {} of the training".format(*card.range["hr_size"]),
        "weights sha256",
        card.sha256,
        "n_virtual_coils",
        "Research use only",
    ):
        assert words in text, words
    assert "<b>" not in text.replace("a<b>&", "") and "nan" not in text


def test_every_picture_of_every_slice_is_there(report):
    page = Page(report.read_text())
    shown = [a for tag, a in page.tags if a.get("class", "").startswith("show")]
    assert len(shown) == 4 * 3 and len({a["src"] for a in shown}) == 12
    assert report.stat().st_size < 5e6 * 3 / 24


def test_a_scan_without_weights_and_noise(tmp_path, capfd):
    write_small_scan(tmp_path / "s.h5")
    assert jrsr(capfd, "recon", tmp_path / "s.h5", "--format", "report", *FAST).code == 0
    text = Page((tmp_path / "s_jrsr.html").read_text()).text
    assert "estimated from the samples" in text and "Similarity to the training" not in text
    assert "cg-sense+sinc" in text


def test_noise_lines_that_are_too_loud_are_not_the_noise_of_the_page(tmp_path, capfd):
    xml, lines = noisy_scan()
    write_scan(tmp_path / "s.h5", xml, with_noise_lines(lines, lambda noise, signal: 70 * noise))
    made = jrsr(capfd, "recon", tmp_path / "s.h5", "--format", "report", *NO_WEIGHTS)
    assert made.code == 0 and "times that of the samples" in made.err
    text = Page((tmp_path / "s_jrsr.html").read_text()).text
    assert "estimated from the samples" in text and "the noise data" not in text


@pytest.mark.parametrize(
    ("n_stated", "words"),
    [
        (3, "as the noise data state it"),
        (2, "estimated from the samples in 1 of 3 images"),
        (0, "estimated from the samples"),
    ],
)
def test_the_noise_of_some_images_is_estimated(n_stated, words):
    assert noise_words(n_stated, 3) == words


def test_a_fallback_image_is_told(tmp_path, capfd):
    write_small_scan(tmp_path / "s.h5", acceleration=4, n_acs=2)
    outcome = jrsr(capfd, "recon", tmp_path / "s.h5", "--report", *FAST)
    assert outcome.code == 3
    text = Page((tmp_path / "s_jrsr.html").read_text()).text
    assert "1 of 1 are fallback images" in text and "reconstructed without the network" in text


def test_a_volume_is_shown_in_the_plane_of_the_network(tmp_path, capfd):
    options = ("--protocol", "wall-16x", "--matrix", "64x56", "--positions", "8", "--coils", "4")
    options += ("--acs", "14", "--accel", "2", "--mask", "regular")
    assert jrsr(capfd, "simulate", "-o", tmp_path / "v.h5", *options).code == 0
    assert jrsr(capfd, "recon", tmp_path / "v.h5", "--report", *FAST).code == 0
    text = Page((tmp_path / "v_jrsr.html").read_text()).text
    assert "1 image of 56 x 64 x 8" in text and "32 x 28" in text


def test_no_text_from_outside_becomes_html(tmp_path, capfd):
    """A weights card, a scan header and a setting are text, whatever they begin with."""
    attack = "<script>alert(1)</script>"
    folder = tmp_path / "<script>alert(2)<"
    torch.manual_seed(0)
    network = build_model("sr", preset="tiny")
    save_weights(network, folder, "sr", "tiny", data=attack, commit="<b>no</b>")

    def with_names(xml, lines):
        xml = xml.replace("<measurementInformation>", SUBJECT + "<measurementInformation>")
        return re.sub("(<protocolName>)[^<]*", rf"\1{escape(attack)}", xml), lines

    write_small_scan(tmp_path / "s.h5", with_names)
    options = ("--model", "sr", "--set", f"weights={folder / 'sr_tiny.json'}")
    assert jrsr(capfd, "recon", tmp_path / "s.h5", "--report", *options).code == 0
    page = Page((tmp_path / "s_jrsr.html").read_text())
    assert "script" not in {tag for tag, _ in page.tags}
    assert page.text.count(attack) == 2, "protocol and training data"
    assert "<script>alert(2)<" in page.text and "<b>no</b>" in page.text
    values = [value for _, attributes in page.tags for value in attributes.values()]
    assert not any(attack in (value or "") for value in values)


def test_an_existing_report_is_not_replaced_unasked(tmp_path, capfd):
    write_small_scan(tmp_path / "s.h5")
    (tmp_path / "s_jrsr.html").write_text("mine")
    command = ("recon", tmp_path / "s.h5", "--report", *FAST)
    assert_one_line(jrsr(capfd, *command), 2, "s_jrsr.html exists", "--overwrite")
    assert (tmp_path / "s_jrsr.html").read_text() == "mine"
    assert not (tmp_path / "s_jrsr.h5").exists()


def test_the_scale_of_a_chart():
    assert [nice_top(v) for v in (0.069, 0.31, 7.0, 9.9, 0.0)] == [0.08, 0.4, 8.0, 10.0, 1.0]
