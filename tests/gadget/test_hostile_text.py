"""Names and texts from outside never steer a terminal, forge a line, or flood it."""

import logging
import os
import re

import pytest

from gadget import console, plain_text
from jrsr_core.weights.card import CardError, WeightsCard
from tests.helpers.commands import FAST, jrsr, write_small_scan

STEERING = "\x1b[31m\x1b]0;title\x07\x9b31m\u202e\u2028\r\n\x08"


def assert_harmless(text):
    for line in text.splitlines():
        assert line.isprintable(), line
    assert "\r" not in text and "\u2028" not in text


@pytest.mark.parametrize("character", [chr(c) for c in (*range(32), *range(127, 160))])
def test_no_control_character_passes(character):
    assert plain_text.plain(f"a{character}b").isprintable()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Prüfung 腹部 é", "Prüfung 腹部 é"),
        ("a\u00a0b", "a\u00a0b"),
        ("\x1b[2J", r"\x1b[2J"),
        ("a\nb", r"a\nb"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        (os.fsdecode(b"caf\xe9"), r"caf\xe9"),
        ("", ""),
    ],
)
def test_what_is_shown_instead(text, expected):
    assert plain_text.plain(text) == expected


def test_long_text_is_cut_and_its_length_named():
    assert plain_text.plain("x" * 900_000, 10) == "xxxxxxxxxx... (900000 characters)"
    assert plain_text.plain("x" * 10, 10) == "x" * 10


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_characters_that_the_terminal_lacks(encoding, tmp_path, monkeypatch):
    with (tmp_path / "out").open("w", encoding=encoding) as stream:
        monkeypatch.setattr("sys.stdout", stream)
        console.print_line("腹部")
    assert (tmp_path / "out").read_text(encoding) in ("腹部\n", "\\u8179\\u90e8\n")


def hostile_scan(folder):
    """Write a scan whose name, protocol and system are hostile, as far as XML allows."""
    in_xml = "".join(c for c in STEERING if ord(c) >= 0x80) + "\n&#10;" + "x" * 900_000

    def change(xml, lines):
        return re.sub("(<protocolName>)[^<]*", lambda m: m[1] + in_xml, xml), lines

    write_small_scan(folder / "plain.h5", change)
    path = folder / os.fsdecode(b"s" + STEERING.encode() + b"\xff.h5")
    (folder / "plain.h5").rename(path)
    return path


def test_check_of_a_hostile_scan(tmp_path, capfd):
    for options in ((), ("--untrusted",)):
        outcome = jrsr(capfd, "check", hostile_scan(tmp_path), *FAST, *options)
        assert outcome.code == 0, outcome
        assert_harmless(outcome.out + outcome.err)
        assert max(map(len, outcome.out.splitlines())) < 1500
        assert len(outcome.out.splitlines()) < 30


def test_recon_of_a_hostile_scan_in_every_format(tmp_path, capfd):
    path = hostile_scan(tmp_path)
    formats = "mrd,dicom,enhanced,nifti,png,report"
    log = tmp_path / "run.log"
    command = ("recon", path, "--format", formats, *FAST, "--log", log, "--untrusted", "-v")
    outcome = jrsr(capfd, *command)
    assert outcome.code == 0, outcome
    assert len(list(tmp_path.iterdir())) == 8
    page = next(tmp_path.glob("*.html")).read_text("utf-8")
    assert len(page) < 500_000
    assert_harmless(page.replace("\n", ""))
    for text in (outcome.out, outcome.err, log.read_text()):
        assert text
        assert_harmless(text)
    again = jrsr(capfd, *command)
    assert again.code == 2 and len(again.err.splitlines()) == 1
    assert_harmless(again.err)


def test_records_of_a_log_are_one_line_each():
    record = logging.LogRecord("jrsr", 30, "", 0, "text: %s", (STEERING,), None)
    assert plain_text.PlainFormatter("%(message)s").format(record).isprintable()
    try:
        raise ValueError(STEERING)
    except ValueError as error:
        record.exc_info = (type(error), error, error.__traceback__)
    lines = plain_text.PlainFormatter("%(message)s").format(record).splitlines()
    assert len(lines) > 3 and all(line.isprintable() for line in lines)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "a\x1b[31m"}, r"data is 'a.x1b.31m', expected one line .* control characters"),
        ({"licence": "a\nb"}, r"licence is 'a.nb', expected one line .* control characters"),
        ({"commit": "a\x9b31m"}, r"commit is 'a.x9b31m', expected one line .* control characters"),
        ({"intended_use": ["x"]}, r"intended_use is ..x..?, expected text"),
        ({"data_sha256": 3}, "data_sha256 is 3, expected text"),
        ({"data": "x" * 1001}, "data is 'x+...., expected one line of at most 1000 characters"),
        ({"metrics": []}, r"metrics is .., expected an object"),
    ],
)
def test_text_fields_of_a_card(changes, message, tmp_path):
    import json

    fields = {"model": "sr", "preset": "tiny", "file": "w", "sha256": "0" * 64, "architecture": {}}
    (tmp_path / "card.json").write_text(json.dumps(fields | changes))
    with pytest.raises(CardError, match=f"card.json: {message}"):
        WeightsCard.read(tmp_path / "card.json")
