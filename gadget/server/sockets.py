"""Sockets of the server: who may connect, listening, and refusing a connection."""

import ipaddress
import socket
from collections.abc import Sequence

from gadget.errors import UsageError
from gadget.server.protocol.connection import CLOSE
from gadget.server.protocol.inbox import drain_bytes
from gadget.server.protocol.messages import error_message, text_message
from gadget.server.protocol.wire import UINT16
from jrsr_core.common.os_errors import reason

REFUSAL_SECONDS = 5.0
"""Time that a peer has to read why its connection is refused."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Return networks written as ``10.1.0.0/16``, ``fd00::/8`` or one address.

    Raises
    ------
    UsageError
        A text that is not a network.
    """
    try:
        return tuple(ipaddress.ip_network(text, strict=False) for text in texts)
    except ValueError as error:
        raise UsageError(f"allow: {error}") from None


def is_allowed(address: str, networks: Sequence[Network]) -> bool:
    """Return whether an address is in one of the networks; every address is if there are none."""
    if not networks:
        return True
    # An IPv6 socket appends the interface of a link-local peer and maps the address of an IPv4 one.
    found = ipaddress.ip_address(address.partition("%")[0])
    found = getattr(found, "ipv4_mapped", None) or found
    return any(found in network for network in networks)


def listen(host: str, port: int) -> list[socket.socket]:
    """Return listening sockets for all addresses of a name, all on one port; port 0 for any.

    Raises
    ------
    UsageError
        The name is unknown, or the address cannot be used.
    """
    try:
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_ADDRCONFIG
        )
    except OSError as error:
        raise UsageError(f"host {host!r}: {reason(error)}") from None
    sockets: list[socket.socket] = []
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            chosen = sockets[0].getsockname()[1] if sockets else port
            sockets.append(socket.create_server((address[0], chosen), family=family, backlog=64))
    except OSError as error:
        for listening in sockets:
            listening.close()
        raise UsageError(f"cannot listen on {host} port {port}: {reason(error)}") from None
    return sockets


def first_id(sock: socket.socket) -> int | None:
    """Return the id of the first message, which stays unread; None if none comes."""
    try:
        data = sock.recv(UINT16.size, socket.MSG_PEEK)
    except OSError:
        return None
    return UINT16.unpack(data)[0] if len(data) == UINT16.size else None


def refuse(sock: socket.socket, why: str, is_client: bool) -> None:
    """Send the reason `why` to an MRD client (`is_client`) or to Gadgetron, then CLOSE."""
    try:
        sock.settimeout(REFUSAL_SECONDS)
        sock.sendall(text_message(f"ERROR {why}") if is_client else error_message(why))
        drain_bytes(sock, REFUSAL_SECONDS)
        sock.sendall(CLOSE)
    except OSError:
        pass
