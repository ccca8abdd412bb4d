"""Sockets of the server: listening, refusing, shutting."""

import ipaddress
import socket
from collections.abc import Sequence

from .errors import UsageError
from .protocol.inbox import drain_bytes
from .protocol.messages import error_message, text_message
from .protocol.wire import UINT16, Id

REFUSAL_SECONDS = 5.0

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Return networks written as ``10.1.0.0/16``, ``fd00::/8`` or one address.

    Raises
    ------
    UsageError
        A text that is none.
    """
    try:
        return tuple(ipaddress.ip_network(text, strict=False) for text in texts)
    except ValueError as error:
        raise UsageError(f"allow: {error}") from None


def is_allowed(address: str, networks: Sequence[Network]) -> bool:
    """Whether an address is in one of the networks, or there are none."""
    if not networks:
        return True
    # An IPv6 socket of a link-local peer names the interface, one of an IPv4 peer maps it.
    found = ipaddress.ip_address(address.partition("%")[0])
    found = getattr(found, "ipv4_mapped", None) or found
    return any(found in network for network in networks)


def listen(host: str, port: int) -> list[socket.socket]:
    """Return listening sockets for all addresses of a name; port 0 for any, the same for all.

    Raises
    ------
    UsageError
        The address cannot be had.
    """
    try:
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_ADDRCONFIG
        )
    except OSError as error:
        raise UsageError(f"host {host!r}: {error.strerror or error}") from None
    sockets: list[socket.socket] = []
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            # One port for all addresses, also where any will do.
            chosen = sockets[0].getsockname()[1] if sockets else port
            sockets.append(socket.create_server((address[0], chosen), family=family, backlog=64))
    except OSError as error:
        for listening in sockets:
            listening.close()
        raise UsageError(f"cannot listen on {host} port {port}: {error.strerror}") from None
    return sockets


def is_client(sock: socket.socket) -> bool:
    """Whether the first message is one that only MRD clients send."""
    try:
        return sock.recv(2, socket.MSG_PEEK) == UINT16.pack(Id.CONFIG_FILE)
    except OSError:
        return False


def refuse(sock: socket.socket, reason: str, is_client: bool) -> None:
    """Tell a peer of either kind, and close."""
    try:
        sock.settimeout(REFUSAL_SECONDS)
        sock.sendall(text_message(f"ERROR {reason}") if is_client else error_message(reason))
        drain_bytes(sock, REFUSAL_SECONDS)
        sock.sendall(UINT16.pack(Id.CLOSE))
    except OSError:
        pass


def shut(sock: socket.socket) -> None:
    """End a connection in both directions, if it has not ended."""
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
