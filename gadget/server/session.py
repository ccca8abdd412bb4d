"""One scan of one peer: messages in, images out, and never silence.

CLOSE            after the last image
ERROR, CLOSE     a scan that is declined, or a failure; an MRD client is told by TEXT instead
nothing          the peer has gone: computing stops at the next iteration
"""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gadgetron.external.connection import Connection

from gadget.compute.engine import Engine
from gadget.errors import Exit, describe, exit_code
from gadget.scan.stages import live_scan, reconstruct, to_results
from gadget.server.protocol.inbox import Inbox
from gadget.server.protocol.messages import (
    Lines,
    Passenger,
    Query,
    Text,
    error_message,
    text_message,
)
from gadget.server.protocol.wire import UINT16, Id, PeerGone
from gadget.settings import Settings
from jrsr_core.cancellation import Cancelled, watched
from jrsr_core.mrd.errors import BadScan
from jrsr_core.mrd.header import parse_header
from jrsr_core.mrd.live import LiveScan, Task
from jrsr_core.mrd.numbering import Numbering

log = logging.getLogger("jrsr")

ABORT_SECONDS = 1.0
DRAIN_SECONDS = 600.0
"""How long a peer that was told of a failure may go on sending."""


@dataclass
class Outcome:
    """How a session ended."""

    code: Exit = Exit.DONE
    n_lines: int = 0
    n_images: int = 0
    n_fallback: int = 0
    error: str = ""


class Session:
    """Talks to one peer from the header on.

    Parameters
    ----------
    connection
        With our readers (`protocol.connection`); configuration and header have been read.
    inbox
        Its reading thread.
    understands_error
        Whether the peer knows the message ERROR.
    answer
        Text for a query.
    """

    def __init__(
        self,
        connection: Connection,
        inbox: Inbox,
        *,
        understands_error: bool = True,
        answer: Callable[[Query], None] = lambda query: None,
    ) -> None:
        self.outcome = Outcome()
        self._connection = connection
        self._inbox = inbox
        self._understands_error = understands_error
        self._answer = answer

    def run(self, prepare: Callable[[], tuple[Settings, Engine]]) -> Outcome:
        """Serve the peer to its end; whatever happens becomes the outcome.

        `prepare` gives the settings of the scan and what computes it; it may fail.
        """
        outcome = self.outcome
        try:
            with watched(self._inbox.check):
                self._serve(*prepare())
            self._inbox.answered()
            self._connection.socket.write(UINT16.pack(Id.CLOSE))
            if outcome.n_fallback:
                outcome.code = Exit.FALLBACK
        except (PeerGone, Cancelled) as error:
            outcome.code, outcome.error = Exit.FAILED, describe(error)
            log.error("peer gone: %s", error)
        except Exception as error:
            outcome.code, outcome.error = exit_code(error), describe(error)
            log.error("%s", outcome.error, exc_info=outcome.code == Exit.FAILED)
            self._fail(outcome.error)
        finally:
            self._inbox.release()
        return outcome

    def _serve(self, settings: Settings, engine: Engine) -> None:
        start = time.perf_counter()
        header = parse_header(self._connection.raw_bytes.header)
        scan = live_scan(header, settings)
        log.info("model loaded: %s on %s", engine.model.name, engine.place)
        numbering = Numbering(header.encodings)
        for tasks in self._tasks(scan):
            images = reconstruct(tasks, engine, settings)
            for result in to_results(images, header, settings, numbering):
                self._connection.send(result.mrd)
                self.outcome.n_images += 1
                if result.is_fallback:
                    self.outcome.n_fallback += 1
                    where = f"image {result.mrd.image_index}"
                    log.warning("%s: fallback: %s", where, result.image.report.fallback)
        self.outcome.n_lines = scan.n_lines
        seconds = time.perf_counter() - start
        log.info(
            "%d lines -> %d images, %d of them fallback images, in %.1f s",
            scan.n_lines,
            self.outcome.n_images,
            self.outcome.n_fallback,
            seconds,
        )
        if scan.n_late:
            raise BadScan(
                f"{scan.n_late} of {scan.n_lines} lines came after their image was made with "
                f"trigger={settings.trigger} and are not in it; trigger=measurement waits for all"
            )

    def _tasks(self, scan: LiveScan) -> Iterator[list[Task]]:
        for items in self._inbox.batches():
            tasks: list[Task] = []
            failure = None
            try:
                for item in items:
                    tasks.extend(self._take(item, scan))
            except ValueError as error:
                # What was complete before has its images all the same.
                failure = error
            self._inbox.holds(scan.n_bytes)
            if tasks:
                yield tasks
            if failure is not None:
                raise failure
        yield list(scan.finish())

    def _take(self, item: object, scan: LiveScan) -> Iterator[Task]:
        """Use a message, or let it pass; in the order they came."""
        if isinstance(item, Lines):
            for waveform in item.waveforms:
                self._connection.send(waveform)
            yield from scan.add(item.lines, is_bucket=item.is_bucket)
        elif isinstance(item, Passenger):
            self._connection.send(item)
        elif isinstance(item, Text):
            log.info("peer says: %s", item.text)
        elif isinstance(item, Query):
            self._answer(item)

    def abort(self, reason: str) -> None:
        """End the session from another thread: the peer is told, computing stops."""
        try:
            last = self._error(reason) + UINT16.pack(Id.CLOSE)
            self._connection.socket.write_soon(last, ABORT_SECONDS)
        except PeerGone as error:
            log.error("peer gone before it was told: %s", error)
        self._connection.socket.hang_up()

    def _error(self, text: str) -> bytes:
        return error_message(text) if self._understands_error else text_message(f"ERROR {text}")

    def _fail(self, text: str) -> None:
        """Tell the peer, let it finish, close."""
        try:
            self._connection.socket.write(self._error(text))
            self._inbox.drain(DRAIN_SECONDS)
            self._inbox.answered()
            self._connection.socket.write(UINT16.pack(Id.CLOSE))
        except PeerGone as error:
            log.error("peer gone before it was told: %s", error)
