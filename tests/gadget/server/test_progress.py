"""How far scans have come: one line of the log per image, and `jrsr health`."""

import json
import logging
import re
from types import SimpleNamespace

import pytest

from gadget.errors import Exit
from gadget.server.counts import Health
from gadget.server.health import parse_report
from gadget.server.progress import Progress, expected_images
from gadget.server.protocol.messages import response_message
from gadget.server.session import Outcome
from gadget.settings import Settings
from jrsr_core.mrd.header.scan_header import parse_header
from tests.helpers.commands import assert_one_line, jrsr
from tests.helpers.peer import CHEAP, Peer, resident, wait_until
from tests.helpers.served_scans import serve

from .test_client import answering
from .test_places import opening

N_SLICES = 3


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    return serve(tmp_path_factory.mktemp("progress"), slices=N_SLICES)


def lines_of(caplog, level=logging.INFO):
    found = [r for r in caplog.records if r.name == "jrsr" and r.levelno == level]
    return [r.getMessage() for r in found if r.getMessage().startswith("image ")]


def test_one_line_per_image(scan, caplog):
    caplog.set_level(logging.INFO, "jrsr")
    with resident() as server:
        Peer.to(server.port).send(*opening(scan), *scan.lines_alone).finish()
        wait_until(lambda: server.health.n_open == 0)
    expected = rf"image (\d) of {N_SLICES} \(slice (\d)\): \d+\.\d\d s, \d+ slices waiting(; .*)?"
    found = [re.fullmatch(expected, line) for line in lines_of(caplog)]
    assert [(m[1], m[2]) for m in found] == [("1", "0"), ("2", "1"), ("3", "2")]


def test_warnings_and_the_queue_are_in_the_line(caplog):
    caplog.set_level(logging.INFO, "jrsr")
    report = SimpleNamespace(warnings=("SNR 12 dB", "3 coils"), seconds={"total": 1.234})
    result = SimpleNamespace(
        map_name="", is_fallback=False, name="slice 4", image=SimpleNamespace(report=report)
    )
    Progress().add(result, SimpleNamespace(n_waiting=5))
    line = "image 1 (slice 4): 1.23 s, 5 slices waiting; warning: SNR 12 dB; 3 coils"
    assert lines_of(caplog) == [line]


def test_a_fallback_image_has_its_reason_in_the_same_line(scan, caplog):
    caplog.set_level(logging.INFO, "jrsr")
    with resident(Settings(**CHEAP | {"time_limit": 1e-9})) as server:
        Peer.to(server.port).send(*opening(scan), *scan.lines_alone).finish()
        wait_until(lambda: server.health.n_open == 0)
    lines = lines_of(caplog, logging.WARNING)
    assert len(lines) == N_SLICES and not lines_of(caplog)
    assert all(" of 3 (slice " in line and "fallback: " in line for line in lines)


def test_health_shows_the_scans_that_are_going_on(scan, capfd):
    with resident() as server:
        peer = Peer.to(server.port).send(*opening(scan))
        wait_until(lambda: [c.scan_state for c in server.connections if c.scan_state])
        half = len(scan.lines_alone) // 2
        peer.send(*scan.lines_alone[:half])
        wait_until(lambda: server.health_report()["scans"][0]["images"] >= 1)
        outcome = jrsr(capfd, "health", "--port", server.port, "--json")
        shown = jrsr(capfd, "health", "--port", server.port)
        peer.send(*scan.lines_alone[half:]).finish()
        wait_until(lambda: server.health.n_open == 0)
        after = json.loads(jrsr(capfd, "health", "--port", server.port, "--json").out)
    report = json.loads(outcome.out)
    assert outcome.code == 0 and report["connections"] == 1, "it does not count itself"
    (state,) = report["scans"]
    assert state["expected"] == N_SLICES and 1 <= state["images"] < N_SLICES
    assert state["model"] and state["peer"].startswith("127.0.0.1:") and state["seconds"] >= 0
    first, second = shown.out.splitlines()
    assert first.startswith("up ") and "1 connections" in first
    assert re.search(r"127\.0\.0\.1:\d+: \d of 3 images in \d+ s, ", second)
    assert after["scans"] == [] and after["connections"] == 0
    assert (after["scans_done"], after["images"], after["fallback_images"]) == (1, N_SLICES, 0)


def test_a_scan_that_failed_is_not_done():
    health = Health()
    for code in (Exit.DONE, Exit.FALLBACK, Exit.FAILED, Exit.DECLINED):
        health.opened()
        health.closed(Outcome(code))
    health.opened()
    health.closed(None)
    report = health.report(0, 0, [], [])
    assert (report["scans_done"], report["scans_failed"]) == (2, 2)


@pytest.mark.parametrize(
    "answer", ["Unable to respond to query: health json", "4.7.2", '{"software": "other"}', "[[1"]
)
def test_health_of_gadgetron(answer, capfd):
    with answering(response_message(1, answer), reads=False, closes=False) as (port, _):
        outcome = jrsr(capfd, "health", "--port", port)
    assert_one_line(outcome, 1, f"port {port} is no jrsr server, it answers as Gadgetron does")


def test_a_report_needs_all_its_fields():
    with resident() as server:
        report = server.health_report()
    assert parse_report(json.dumps(report)) == report
    for name in report:
        lacking = {k: v for k, v in report.items() if k != name}
        assert parse_report(json.dumps(lacking)) is None
    assert parse_report(json.dumps(report | {"scans": [3]})) is None


def test_the_number_of_images_follows_from_the_encoding_limits(scan):
    header = scan.header
    assert expected_images(header.encodings) == N_SLICES
    without = re.sub(r"<encodingLimits>.*?</encodingLimits>", "", header.xml, flags=re.DOTALL)
    assert without != header.xml
    found = expected_images(parse_header(without.encode()).encodings)
    assert found is None or found == 1
