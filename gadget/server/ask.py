"""`jrsr health`: asks a resident server for its health."""

from gadget.server.protocol.messages import decode
from gadget.server.protocol.wire import UINT16, UINT64, Id, PeerDisconnected, Stream

from .client import ServerFailure, connect
from .health import QUERY, HealthReport, parse_report

CONNECT_SECONDS = 10.0


def ask_health(host: str, port: int) -> HealthReport:
    """Return the health of a resident server.

    Raises
    ------
    ServerFailure
        It does not answer, or is another kind of server.
    """
    answer = _answer_to(QUERY, host, port)
    report = parse_report(answer)
    if report is not None:
        return report
    if answer.startswith("up "):
        raise ServerFailure(f"{host} port {port} is a jrsr server of another version: {answer}")
    raise ServerFailure(
        f"{host} port {port} is no jrsr server, it answers as Gadgetron does: {answer[:200]!r}"
    )


def _answer_to(query: str, host: str, port: int) -> str:
    text = query.encode()
    with connect(host, port, CONNECT_SECONDS) as sock:
        stream = Stream(sock)
        try:
            stream.write(UINT16.pack(Id.QUERY) + UINT64.pack(0) + UINT64.pack(1))
            stream.write(UINT64.pack(len(text)) + text)
            number = stream.number(UINT16)
            if number == Id.ERROR:
                error = decode(stream.sized("error", UINT64, stream.limits.text))
                raise ServerFailure(f"{host} port {port}: {error}")
            if number != Id.RESPONSE:
                raise ServerFailure(f"{host} port {port} is no jrsr server")
            stream.number(UINT64)
            return decode(stream.sized("response", UINT64, stream.limits.text))
        except (PeerDisconnected, TimeoutError):
            raise ServerFailure(f"{host} port {port} does not answer") from None
