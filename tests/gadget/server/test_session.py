"""One connection from the header on: nothing is lost on the way in, the peer hears how it ends."""

import re
import socket
import threading

import numpy as np
import pytest

from gadget.compute.model import make_engine
from gadget.server.protocol.connection import READERS, Handshake
from gadget.server.protocol.inbox import Inbox
from gadget.server.protocol.messages import MESSAGE_BYTES, ForwardedMessage, Text
from gadget.server.protocol.wire import (
    RESERVED_BYTES,
    Id,
    PeerDisconnected,
    ProtocolError,
    Stream,
    WireLimits,
)
from gadget.server.session import Session
from gadget.settings import Settings
from jrsr_core.common.cancellation import Cancelled
from tests.helpers import layouts, messages
from tests.helpers.peer import CHEAP, PATIENCE, Peer, wait_until

SPACE = (
    "<matrixSize><x>8</x><y>8</y><z>1</z></matrixSize>"
    "<fieldOfView_mm><x>8</x><y>8</y><z>5</z></fieldOfView_mm>"
)
HEADER = (
    f"<ismrmrdHeader><encoding><encodedSpace>{SPACE}</encodedSpace><reconSpace>{SPACE}"
    "</reconSpace><trajectory>cartesian</trajectory></encoding></ismrmrdHeader>"
)


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """A stream that is out of step is drained sooner than in life."""
    monkeypatch.setattr("gadget.server.protocol.inbox.DRAINED_SECONDS", 0.2)


class Connected:
    """A peer, and our end of its connection behind configuration and header."""

    def __init__(
        self,
        *first: bytes,
        config: bytes = layouts.config(""),
        header: str = HEADER,
        limits: WireLimits | None = None,
        **options: object,
    ) -> None:
        near, far = socket.socketpair()
        self.peer = Peer(near)
        self.peer.send(config, layouts.header(header))
        self.connection = Handshake(Stream(far, limits)).run()
        self.gone = threading.Event()
        self.inbox = Inbox(self.connection, on_disconnect=self.gone.set, **options)
        self.sender = self.peer.send_meanwhile(*first)

    def __enter__(self) -> "Connected":
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.stream.close()
        self.peer.finish()

    def everything(self) -> list[object]:
        return [item for batch in self.inbox.batches() for item in batch]


def wait_for_readers(before: set[threading.Thread]) -> None:
    """Wait until the threads that read connections have ended, but for those of before."""
    for thread in set(threading.enumerate()) - before:
        if thread.name == "inbox":
            thread.join(PATIENCE)
            assert not thread.is_alive()


def image_number(n: int) -> bytes:
    return layouts.image(messages.pixels(), image_index=n)


def test_everything_comes_in_its_order():
    sent = [image_number(n) for n in range(200)]
    with Connected(*sent, layouts.close(), max_bytes=1000) as here:
        items = here.everything()
        assert [bytes(item.payload) for item in items] == [m[2:] for m in sent]


def test_a_fast_peer_is_held_back_and_nothing_is_lost():
    big = layouts.image(np.zeros((1, 1, 256, 256), "<f4"))
    with Connected(max_bytes=3 * len(big)) as here:
        sender = here.peer.send_meanwhile(*[big] * 40, layouts.close())
        wait_until(lambda: here.inbox.memory.n_bytes > 3 * len(big))
        # The socket's own buffers hold a few; the rest has to wait.
        assert sender.is_alive()
        # Three that are unread, one that waits behind them, and what is reserved in advance.
        most = 4 * (len(big) + MESSAGE_BYTES) + RESERVED_BYTES
        assert here.inbox.memory.n_bytes <= most < 10 * len(big)
        assert len(here.everything()) == 40
        sender.join(PATIENCE)


def test_what_came_before_the_end_is_given_out_before_the_error():
    with Connected(image_number(1), image_number(2)[:50]) as here:
        here.sender.join(PATIENCE)
        here.peer.sock.shutdown(socket.SHUT_WR)
        batches = here.inbox.batches()
        items = []
        with pytest.raises(PeerDisconnected, match="after"):
            while True:
                items += next(batches)
        assert len(items) == 1 and isinstance(items[0], ForwardedMessage)
        assert here.gone.wait(PATIENCE)
        with pytest.raises(Cancelled):
            here.inbox.check()


def test_a_peer_that_closed_has_not_gone():
    before = set(threading.enumerate())
    with Connected(layouts.close()) as here:
        assert here.everything() == []
        here.peer.sock.shutdown(socket.SHUT_WR)
        here.inbox.check()
        wait_for_readers(before)
        assert not here.gone.is_set()


def test_gadgetron_that_is_killed_after_its_close_has_gone():
    with Connected(layouts.close(), keeps_open=True) as here:
        assert here.everything() == []
        here.inbox.check()
        here.peer.sock.shutdown(socket.SHUT_RDWR)
        assert here.gone.wait(PATIENCE)
        with pytest.raises(Cancelled):
            here.inbox.check()


def test_after_our_close_the_peer_may_go():
    before = set(threading.enumerate())
    with Connected(layouts.close(), keeps_open=True) as here:
        assert here.everything() == []
        here.inbox.mark_answered()
        here.peer.sock.shutdown(socket.SHUT_RDWR)
        wait_for_readers(before)
        assert not here.gone.is_set()
        here.inbox.check()


def test_texts_that_come_first():
    messages_ = [layouts.text("a"), layouts.text("b"), image_number(1), layouts.text("c")]
    with Connected(*messages_, layouts.close()) as here:
        assert [t.text for t in here.inbox.first_texts()] == ["a", "b"]
        rest = here.everything()
        assert isinstance(rest[0], ForwardedMessage) and rest[1] == Text("c", 1)
    with Connected(layouts.text("a"), layouts.close()) as here:
        assert [t.text for t in here.inbox.first_texts()] == ["a"]
        assert here.everything() == []
    limits = WireLimits(text=3 * MESSAGE_BYTES)
    for max_bytes in (3, 2**20):
        with Connected(*[layouts.text("")] * 4, limits=limits, max_bytes=max_bytes) as here:
            # Nobody fills our memory with texts, not even with empty ones.
            with pytest.raises(ProtocolError, match="texts after the header of 2000 bytes"):
                here.inbox.first_texts()


def serve_and_fail(here: Connected, error: Exception):
    """A session whose preparation fails."""

    def prepare():
        raise error

    return Session(here.connection, here.inbox).run(prepare)


def test_gadgetron_is_told_of_a_failure_when_it_has_nothing_left_to_send(monkeypatch):
    """An error that comes before makes Gadgetron 4.7.2 reset its client: the text is lost."""
    many = [layouts.image(np.zeros((1, 1, 512, 512), "<f4"))] * 40
    with Connected(max_bytes=1000) as here:
        all_sent, was_told = threading.Event(), []
        write = here.connection.stream.write

        def tell(data):
            was_told.append(all_sent.is_set())
            write(data)

        def send():
            here.peer.send(*many)
            all_sent.set()
            here.peer.send(layouts.close())

        monkeypatch.setattr(here.connection.stream, "write", tell)
        sender = threading.Thread(target=send)
        sender.start()
        outcome = serve_and_fail(here, RuntimeError("Grüße\nvon innen"))
        sender.join(PATIENCE)
        answer = here.peer.finish()
        assert was_told == [True, True]
        assert answer.errors == ["RuntimeError: Grüße von innen"] and answer.is_closed
        assert answer.ids == [layouts.ERROR, layouts.CLOSE]
        assert (outcome.code, outcome.n_images) == (1, 0)


def test_an_mrd_client_is_told_by_text():
    with Connected(layouts.close(), config=layouts.config_file("jrsr")) as here:
        serve_and_fail(here, ValueError("so nicht"))
        answer = here.peer.finish()
        assert answer.texts == ["ERROR so nicht"] and answer.is_closed and not answer.errors


@pytest.mark.parametrize(
    ("junk", "words"),
    [
        (layouts.u16(77) + bytes(10**6), "message id 77 is unknown"),
        (layouts.image(messages.pixels(), data_type=99), "data_type 99"),
        (layouts.bucket(messages.some_lines(2))[:2] + layouts.u64(1) * 13, "its headers require"),
    ],
)
def test_a_stream_out_of_step_is_told_and_drained(junk, words):
    with Connected(image_number(1), junk, layouts.close()) as here:
        batches = here.inbox.batches()

        def prepare():
            for _ in batches:
                pass

        outcome = Session(here.connection, here.inbox).run(prepare)
        answer = here.peer.finish()
        assert words in answer.errors[0] and answer.is_closed
        assert outcome.code == 1 and words in outcome.error


def test_a_failure_in_reading_that_nobody_thought_of(monkeypatch):
    """It ends the reading thread like bytes that make no sense, and is told like them."""
    monkeypatch.setitem(READERS, Id.TEXT, lambda stream: 1 / 0)
    with Connected() as here:
        here.peer.send_meanwhile(layouts.text("x"), *[image_number(1)] * 1000, layouts.close())
        with pytest.raises(ZeroDivisionError):
            here.everything()
        serve_and_fail(here, ZeroDivisionError("x"))
        assert here.peer.finish().is_closed


def test_draining_lets_a_peer_finish_that_was_held_back():
    with Connected(*[image_number(1)] * 20, layouts.close(), max_bytes=10) as here:
        here.inbox.drain(PATIENCE)
        assert here.everything() == []
        assert here.connection.stream.write(layouts.close()) is None
        assert here.peer.finish().is_closed


def test_protocol_errors_are_raised_to_the_consumer():
    with Connected(layouts.u16(9)) as here, pytest.raises(ProtocolError):
        here.everything()


def test_a_scan_of_another_kind_is_declined_before_anything_is_prepared():
    prepared = []
    with Connected(layouts.close(), header=HEADER.replace("cartesian", "spiral")) as here:
        outcome = Session(here.connection, here.inbox).run(lambda: prepared.append(1))
        answer = here.peer.finish()
    assert answer.errors == ["trajectory is spiral, expected cartesian"] and answer.is_closed
    assert (outcome.code, prepared) == (2, [])


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (messages.recon_data(), "2 ReconData and no lines came, .* before BucketToBufferGadget"),
        (layouts.image(np.zeros((1, 1, 8, 8), "<f4")), "2 images and no lines came, .* raw data"),
    ],
)
def test_a_scan_without_lines_says_where_the_node_belongs(item, words):
    settings = Settings(**CHEAP)
    with Connected(item, item, layouts.close()) as here:
        session = Session(here.connection, here.inbox)
        outcome = session.run(lambda: (settings, make_engine(settings)))
        answer = here.peer.finish()
    # What came has been forwarded all the same.
    assert answer.ids[:2] == [int.from_bytes(item[:2], "little")] * 2
    assert outcome.code == 2 and answer.is_closed
    assert re.search(words, answer.errors[0])


@pytest.mark.parametrize(
    "config", [b"<configuration><property name='crop' value='0.5'/></configuration>\0", b"\0"]
)
def test_an_xml_configuration_that_ends_with_nul_is_of_an_mrd_client(config):
    with Connected(layouts.close(), config=layouts.config(config)) as here:
        serve_and_fail(here, ValueError("so nicht"))
        answer = here.peer.finish()
    assert answer.texts == ["ERROR so nicht"] and answer.is_closed and not answer.errors
