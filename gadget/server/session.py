"""One scan of one peer: messages are received, images are sent, and every scan gets an answer.

CLOSE            after the last image
ERROR, CLOSE     the scan is declined or has failed; an MRD client receives TEXT instead of ERROR
nothing          the peer has disconnected: the computation stops at its next iteration
"""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from gadget.compute.engine import Engine
from gadget.errors import Exit, UsageError, describe, exit_code
from gadget.output.base import Result
from gadget.plain_text import plain
from gadget.scan.memory import MemoryCheck
from gadget.scan.stages import live_scan, reconstruct, to_results
from gadget.server.protocol.connection import CLOSE, Message, PeerConnection
from gadget.server.protocol.inbox import Inbox
from gadget.server.protocol.messages import (
    ForwardedMessage,
    Lines,
    Query,
    Text,
)
from gadget.server.protocol.wire import PeerDisconnected, ProtocolError
from gadget.settings import Settings
from jrsr_core.common.cancellation import Cancelled, checkpoint, watched
from jrsr_core.mrd.errors import BadScan
from jrsr_core.mrd.header.scan_header import ScanHeader, parse_header
from jrsr_core.mrd.lines.numbering import Numbering
from jrsr_core.mrd.live.live_scan import LiveScan, Task
from jrsr_core.mrd.noise.measured import NoiseData
from jrsr_core.mrd.planning.kinds import check_header

from .forwarded import Forwarded
from .progress import Progress
from .result_sender import ResultSender

log = logging.getLogger("jrsr")

ABORT_SECONDS = 1.0
"""How long an error may take to be sent when the server stops."""

DRAIN_SECONDS = 600.0
"""How long a peer may go on sending after its scan has failed."""

SETTLE_SECONDS = 0.2
"""How long Gadgetron needs after CLOSE before it can take an error; see `Session._fail`."""

MAX_LOGGED_TEXTS = 100
"""Texts of a peer that are logged."""


class _ImagesLeftOut(Exception):
    """Images for which not even a fallback image could be made, beside others that were sent."""

    def __init__(self, failures: list[Exception]) -> None:
        more = f", and {len(failures) - 1} more" if len(failures) > 1 else ""
        super().__init__(f"image left out: {describe(failures[0])}{more}")


@dataclass
class Outcome:
    """How a session ended."""

    code: Exit = Exit.DONE
    n_lines: int = 0
    n_images: int = 0
    n_fallback: int = 0
    error: str = ""


class Session:
    """Serves one peer from the header on.

    Parameters
    ----------
    inbox
        Reads the connection.
    answer
        Called for queries.
    earlier_noise
        Returns the noise for a scan without noise lines, by its header.
    """

    def __init__(
        self,
        connection: PeerConnection,
        inbox: Inbox,
        *,
        answer: Callable[[Query], None] = lambda query: None,
        earlier_noise: Callable[[ScanHeader], NoiseData | None] = lambda header: None,
    ) -> None:
        self.outcome = Outcome()
        self._connection = connection
        self._inbox = inbox
        self._answer = answer
        self._earlier_noise = earlier_noise
        self.progress = Progress()
        self._n_texts = 0
        self._forwarded = Forwarded()
        self._expected_bytes = 0

    @property
    def idle_since(self) -> float | None:
        """When the scan began to wait for its peer; None if it does not."""
        return self._inbox.idle_since

    def run(self, prepare: Callable[[], tuple[Settings, Any]]) -> Outcome:
        """Serve the peer to its end; every error becomes the outcome.

        `prepare` returns the settings and the engine of the scan; it may raise.
        """
        outcome = self.outcome
        try:
            with watched(self._inbox.check):
                header = parse_header(self._connection.header)
                self._check(header)
                self._serve(header, *prepare())
            self._inbox.mark_answered()
            self._connection.send_close()
            if outcome.n_fallback:
                outcome.code = Exit.FALLBACK
        except (PeerDisconnected, Cancelled) as error:
            outcome.code, outcome.error = Exit.FAILED, plain(describe(error))
            log.error("peer disconnected: %s", error)
        except _ImagesLeftOut as error:
            outcome.code, outcome.error = Exit.FALLBACK, plain(str(error))
            log.error("%s", outcome.error)
            self._fail(outcome.error, is_complete=True)
        except Exception as error:
            outcome.code, outcome.error = exit_code(error), plain(describe(error))
            log.error("%s", outcome.error, exc_info=_is_unexpected(error))
            self._fail(outcome.error)
        finally:
            self._inbox.release()
            self._expect(0)
        return outcome

    def _check(self, header: ScanHeader) -> None:
        """Decline a kind of scan before the model is loaded and before any line has come."""
        check_header(header)

    def _serve(self, header: ScanHeader, settings: Settings, engine: Engine) -> None:
        start = time.perf_counter()
        if self._connection.is_gadgetron and settings.output == "int16":
            raise UsageError("output is int16, which Gadgetron does not take: output=uint16")
        # A chain of Gadgetron removes oversampling and leaves the header as it was.
        is_cropped, noise = self._connection.is_gadgetron, self._earlier_noise(header)
        scan = live_scan(header, settings, is_cropped=is_cropped, noise=noise)
        log.info("model loaded: %s on %s", engine.model.name, engine.place)
        memory = MemoryCheck(header, settings, self._inbox.memory.limit)
        self.progress.begin(header.encodings, engine)
        numbering, failures = Numbering(header.encodings), list[Exception]()

        def check() -> None:
            # The ACS of a slice is kept from its first image on.
            self._inbox.set_held(scan.n_bytes)
            memory.check_acs(scan.n_acs_bytes)

        with ResultSender(self._connection, settings.output) as sender:
            for tasks in self._tasks(scan, memory):
                at_once = memory.images_at_once(min(engine.slices_at_once, len(tasks)))
                with self._inbox.memory.image(memory.largest.of(at_once)):
                    images = reconstruct(
                        tasks, engine, settings, at_once=at_once, failures=failures
                    )
                    for result in to_results(images, header, settings, numbering):
                        sender.send(result)
                        self._count(result, engine)
                        check()
        self.outcome.n_lines = scan.n_lines
        self._log(scan, time.perf_counter() - start)
        self._forwarded.check(scan.n_lines)
        if failures:
            raise _ImagesLeftOut(failures) if self.outcome.n_images else failures[0]
        if scan.n_late:
            raise BadScan(
                f"{scan.n_late} of {scan.n_lines} lines came after their image was made with "
                f"trigger={settings.trigger} and are not in it; trigger=measurement waits for all"
            )

    def _log(self, scan: LiveScan, seconds: float) -> None:
        log.info(
            "%d lines -> %d images, %d of them fallback images, in %.1f s",
            scan.n_lines,
            self.outcome.n_images,
            self.outcome.n_fallback,
            seconds,
        )
        for note in dict.fromkeys(scan.volume_notes.values()):
            log.warning("%s", note)

    def _count(self, result: Result, engine: Engine) -> None:
        self.outcome.n_images += 1
        self.outcome.n_fallback += result.is_fallback
        self.progress.add(result, engine)

    def _expect(self, n_bytes: int) -> None:
        """Keep room for an image of this size, instead of the one expected so far."""
        memory, before = self._inbox.memory, self._expected_bytes
        self._expected_bytes = n_bytes
        if n_bytes:
            memory.expect(n_bytes)
        if before:
            memory.forget(before)

    def _tasks(self, scan: LiveScan, memory: MemoryCheck) -> Iterator[list[Task]]:
        for items in self._inbox.batches():
            tasks: list[Task] = []
            failure = None
            try:
                for item in items:
                    checkpoint()
                    if isinstance(item, Lines) and memory.add(item.lines.heads):
                        self._expect(memory.largest.total)
                    tasks.extend(self._take(item, scan))
            except ValueError as error:
                # Images that were complete before are sent all the same.
                failure = error
            self._inbox.set_held(scan.n_bytes)
            if tasks:
                yield tasks
            if failure is not None:
                raise failure
        if tasks := list(scan.finish()):
            yield tasks

    def _take(self, item: Message, scan: LiveScan) -> Iterator[Task]:
        """Use or forward a message; yield the images that its lines complete."""
        if isinstance(item, Lines):
            for waveform in item.waveforms:
                self._connection.send(waveform)
            yield from scan.add(item.lines, is_bucket=item.is_bucket)
        elif isinstance(item, ForwardedMessage):
            self._forwarded.add(item)
            self._connection.send(item)
        elif isinstance(item, Text):
            self._n_texts += 1
            if self._n_texts <= MAX_LOGGED_TEXTS:
                log.info("text from the peer: %s", plain(item.text))
        elif isinstance(item, Query):
            self._answer(item)

    def abort(self, reason: str) -> None:
        """End the session from another thread: send the reason, then disconnect.

        A peer whose scan has failed, and which was not told yet, receives that reason.
        """
        try:
            message = self._connection.error(self.outcome.error or reason) + CLOSE
            self._connection.stream.write_within(message, ABORT_SECONDS)
        except PeerDisconnected as error:
            log.error("peer disconnected before the error was sent: %s", error)
        self._connection.stream.close()

    def _fail(self, text: str, *, is_complete: bool = False) -> None:
        """Send the error, let the peer finish, close.

        Gadgetron is told after its scan: an error that comes while its client is sending makes it
        reset that connection, so that the text is lost, and one that comes while it handles its own
        CLOSE can crash it (4.7.2). A stream, which takes no errors, gets CLOSE only if all images
        were sent that there are.
        """
        message = self._connection.error(text)
        if not message and not is_complete:
            return
        try:
            if message:
                if self._connection.is_gadgetron:
                    self._inbox.drain(DRAIN_SECONDS)
                    time.sleep(SETTLE_SECONDS)
                self._connection.stream.write(message)
                self._inbox.drain(DRAIN_SECONDS)
            self._inbox.mark_answered()
            self._connection.send_close()
        except PeerDisconnected as error:
            log.error("peer disconnected before the error was sent: %s", error)


def _is_unexpected(error: Exception) -> bool:
    """Whether an error is a fault of ours, so that its place in the code belongs into the log."""
    known = (BadScan, ProtocolError, OSError)
    return exit_code(error) == Exit.FAILED and not isinstance(error, known)
