"""The report in a browser: nothing that comes from outside runs, all of it is shown as text."""

import re
import shutil
from html import escape
from html.parser import HTMLParser

import pytest
import torch

from jrsr_core.models.registry import build_model
from jrsr_core.weights.save import save_weights
from tests.helpers.commands import jrsr, write_small_scan
from tests.helpers.processes import run_process

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
RAN = "document.title='ran'"
SCRIPT = f"<script>{RAN}</script>"
HANDLER = f'"onmouseover="{RAN}" x=\'<img src=x onerror={RAN}>'
STEERING = "\u202egnp.exe\u2066"
ESCAPE = "\x1b[2J"
"""XML and cards cannot carry it; the name of a folder can."""


class Body(HTMLParser):
    """Names of tags and attributes, the title and the visible text."""

    def __init__(self, text):
        super().__init__()
        self.names, self.words, self.title, self._tag = set(), [], "", ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self._tag = tag
        self.names |= {tag, *(name for name, _ in attrs)}

    def handle_data(self, data):
        if self._tag == "title":
            self.title += data
        elif self._tag != "style":
            self.words.append(data)


def browsed(page):
    """The document that the browser made of a page, after its scripts and handlers ran."""
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", page.as_uri()]
    run = run_process(command, check=True)
    return Body(run.stdout)


def hostile_header(xml, lines):
    """Put the attacks into protocol, patient, series, system and coil names."""
    attack = escape(SCRIPT + HANDLER + STEERING, quote=False)
    patient = f"<subjectInformation><patientName>{attack}</patientName></subjectInformation>"
    xml = xml.replace("<measurementInformation>", f"{patient}<measurementInformation>")
    xml = re.sub("(<protocolName>)[^<]*", lambda m: m[1] + attack, xml)
    series = f"</protocolName><seriesDescription>{attack}</seriesDescription>"
    xml = xml.replace("</protocolName>", series)
    coil = "<coilLabel><coilNumber>0</coilNumber><coilName>{}</coilName></coilLabel>"
    xml = xml.replace("</receiverChannels>", "</receiverChannels>" + coil.format(attack))
    return re.sub("(<systemModel>)[^<]*", lambda m: m[1] + attack, xml), lines


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
def test_the_browser_would_run_what_is_not_escaped(tmp_path):
    page = tmp_path / "page.html"
    page.write_text(f"<title>fine</title>{SCRIPT}<p>text</p>")
    assert browsed(page).title == "ran"


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
def test_texts_of_scan_card_and_settings_are_shown_and_do_not_run(tmp_path, capfd):
    folder = tmp_path / f"{ESCAPE}{STEERING}<script>{RAN}<" / "x"
    torch.manual_seed(0)
    network = build_model("sr", preset="tiny")
    texts = {"data": SCRIPT + STEERING, "licence": HANDLER, "intended_use": SCRIPT}
    card = save_weights(network, folder, "sr", "tiny", **texts, commit=HANDLER)
    write_small_scan(tmp_path / "s.h5", hostile_header)
    options = ("--model", "sr", "--set", f"weights={card}")
    outcome = jrsr(capfd, "recon", tmp_path / "s.h5", "--report", *options)
    assert outcome.code == 0, outcome.err
    page = browsed(tmp_path / "s_jrsr.html")
    assert page.title.strip() == "JRSR: s.h5"
    assert not page.names & {"script", "onmouseover", "onerror", "iframe", "link"}
    text = " ".join(page.words)
    assert text.count(SCRIPT) >= 2, "protocol and training data"
    assert HANDLER in text and f"<script>{RAN}<" in text
    assert r"\x1b[2J" in text and r"\u202egnp.exe" in text
    assert not [c for c in text if not c.isprintable() and c not in "\n\xa0"]
    for shown in (outcome.out, outcome.err):
        assert all(line.isprintable() for line in shown.splitlines())
