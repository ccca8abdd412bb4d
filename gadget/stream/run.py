"""`jrsr stream`: the scan of a stream is reconstructed, and its images leave as a stream."""

from gadget.compute.model import check_model, make_engine
from gadget.errors import Exit, UsageError
from gadget.server.protocol.connection import PeerConnection
from gadget.server.protocol.inbox import Inbox
from gadget.server.protocol.wire import Stream
from gadget.server.session import Outcome, Session
from gadget.settings import Settings

from .ismrmrd_v1 import IsmrmrdStream
from .mrd_schema import MAGIC
from .mrd_v2 import MrdStream
from .pipes import Pipes, open_pipes

FILES = {
    b"\x89HDF": "an HDF5 file, which jrsr recon takes",
    b"\x1f\x8b": "compressed by gzip: put gunzip before jrsr stream",
}
"""First bytes of what is no stream, and what it is."""


class _Incomplete(Exception):
    """A stream that is not complete; a file that was to hold it does not appear."""


def reconstruct_stream(settings: Settings, source: str, target: str, *, overwrite: bool) -> Exit:
    """Read the scan of `source`, send its images to `target`; return the exit code.

    The stream is ISMRMRD v1 or MRD v2, which its first bytes tell, and so is the output. A failure
    of the scan is logged; the output then lacks its end.

    Raises
    ------
    UsageError
        The model is unknown, or the input is no stream.
    ProtocolError, PeerDisconnected
        The stream does not begin with a header.
    OSError
        As `open_pipes`.
    """
    check_model(settings)
    outcome = Outcome()
    try:
        with open_pipes(source, target, overwrite=overwrite) as pipes:
            peer = _connect(pipes)
            session = Session(peer, Inbox(peer))
            outcome = session.run(lambda: (settings, make_engine(settings)))
            if outcome.code in (Exit.FAILED, Exit.DECLINED):
                raise _Incomplete
    except _Incomplete:
        pass
    return outcome.code


def _connect(pipes: Pipes) -> PeerConnection:
    head = pipes.peek(len(MAGIC))
    if not head:
        raise UsageError("input is empty, expected a stream of ISMRMRD v1 or MRD v2")
    if head == MAGIC:
        return MrdStream(Stream(pipes), pipes)
    for first, what in FILES.items():
        if head.startswith(first):
            raise UsageError(f"input is {what}; jrsr stream takes ISMRMRD v1 or MRD v2 streams")
    return IsmrmrdStream(Stream(pipes))
