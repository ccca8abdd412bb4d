"""Silent peers hold no place that others need; the health needs none."""

import threading

import pytest

from gadget.server import connection
from gadget.server.connection import ServerLimits
from tests.helpers import layouts
from tests.helpers.peer import Peer, resident, wait_until
from tests.helpers.served_scans import assert_images, serve

N = 4


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    return serve(tmp_path_factory.mktemp("places"), slices=2)


def opening(scan):
    return layouts.config(layouts.properties()), layouts.header(scan.header.xml)


def fill(server, *messages):
    """Connect peers one after the other, so that the first is silent for longest."""
    peers = []
    for n in range(N):
        peers.append(Peer.to(server.port).send(*messages))
        wait_until(lambda n=n: len(server.connections) == n + 1)
        if messages:
            wait_until(lambda: all(c.scan_state for c in server.connections), "headers")
    return peers


def ask_health(server):
    peer = Peer.to(server.port).send(layouts.query(1, "health"))
    answer = peer.wait_for(layouts.RESPONSE)
    peer.drop()
    return answer.responses[0][1]


def has_ended(peer):
    return peer.ended is not None or peer.answer.is_closed


@pytest.mark.parametrize("has_header", [False, True])
def test_silent_peers_refuse_neither_health_nor_scans(scan, monkeypatch, has_header):
    monkeypatch.setattr(connection, "IDLE_SECONDS", 0.0)
    monkeypatch.setattr(connection, "IDLE_SCAN_SECONDS", 0.0)
    with resident(max_connections=N) as server:
        silent = fill(server, *(opening(scan) if has_header else ()))
        if has_header:
            wait_until(lambda: all(c.idle_since for c in server.connections), "waiting")
        assert f"{N} connections" in ask_health(server)
        assert all(peer.ended is None for peer in silent)
        for _ in range(2):
            peer = Peer.to(server.port).send(*opening(scan), *scan.lines_alone)
            assert_images(peer.finish().images, scan.expected())
            # One goes; the place of the scan that has ended is free afterwards.
            wait_until(lambda: len(server.connections) == N - 1)
            wait_until(lambda: any(map(has_ended, silent)))
            (closed,) = filter(has_ended, silent)
            # Without a header the oldest goes first; scans wait since their models are loaded.
            assert has_header or closed is silent[0]
            assert closed.finish().errors == (
                ["no data for too long, and another peer needs the connection"]
                if has_header
                else []
            )
        for other in silent:
            if other is not closed:
                other.drop()


def test_peers_that_were_silent_for_a_moment_keep_their_place(scan):
    with resident(max_connections=N) as server:
        peers = fill(server, *opening(scan), *scan.lines_alone[:10])
        refused = Peer.to(server.port).send(*opening(scan), layouts.close()).finish()
        assert refused.errors == [f"{N} connections are served already"]
        for peer in peers:
            peer.send(*scan.lines_alone[10:])
            assert_images(peer.finish().images, scan.expected())


def test_a_scan_whose_images_are_computed_is_not_idle(scan, monkeypatch):
    monkeypatch.setattr(connection, "IDLE_SCAN_SECONDS", 0.0)
    from threading import Event

    from gadget.compute.model import make_engine
    from tests.helpers.peer import PATIENCE

    goes_on = Event()

    def make(settings):
        assert goes_on.wait(PATIENCE)
        return make_engine(settings)

    with resident(max_connections=1, make=make) as server:
        peer = Peer.to(server.port).send(*opening(scan), *scan.lines_alone)
        wait_until(lambda: any(c.scan_state for c in server.connections))
        refused = Peer.to(server.port).send(*opening(scan), layouts.close()).finish()
        assert refused.errors == ["1 connections are served already"]
        goes_on.set()
        assert_images(peer.finish().images, scan.expected())


def test_health_beyond_all_limits(monkeypatch):
    """Peers that wait for a place make room as well, the oldest first."""
    monkeypatch.setattr("gadget.server.server.MAX_REFUSALS", 2)
    with resident(max_connections=N) as server:
        silent = fill(server)
        extra = [Peer.to(server.port) for _ in range(2)]
        wait_until(lambda: len(server.connections) == N + 2)
        assert "connections" in ask_health(server)
        extra[0].finish()
        for peer in (*silent, extra[1]):
            peer.drop()


def test_there_is_a_limit_of_silence_by_default():
    assert ServerLimits().idle_timeout == 600


def test_a_declined_peer_that_goes_silent_gives_its_place(scan, monkeypatch):
    monkeypatch.setattr(connection, "IDLE_SCAN_SECONDS", 0.0)
    spiral = layouts.header(scan.header.xml.replace(">cartesian<", ">spiral<"))
    with resident(max_connections=1) as server:
        declined = Peer.to(server.port).send(opening(scan)[0], spiral)
        wait_until(lambda: any(c.idle_since for c in server.connections), "drained")
        answer = Peer.to(server.port).send(*opening(scan), *scan.lines_alone).finish()
        assert_images(answer.images, scan.expected())
        assert "spiral" in declined.finish().errors[0]


def test_a_thread_that_cannot_start_costs_one_connection(scan, monkeypatch, caplog):
    start = threading.Thread.start
    failing = [True]

    def refuse(thread):
        if failing and thread.name.startswith("127.0.0.1"):
            failing.clear()
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with resident() as server:
        lost = Peer.to(server.port)
        wait_until(lambda: not failing, "refused")
        lost.drop()
        answer = Peer.to(server.port).send(*opening(scan), *scan.lines_alone).finish()
        assert_images(answer.images, scan.expected())
        wait_until(lambda: not server.connections, "closed")
    assert "cannot be served: can't start new thread" in caplog.text
