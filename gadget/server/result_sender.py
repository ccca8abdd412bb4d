"""Sends the images of a scan to its peer: as they come, or as integers when it is complete."""

from collections.abc import Iterable
from contextlib import closing
from types import TracebackType

import ismrmrd

from gadget.output.base import Result
from gadget.output.common_scale import CommonScale
from gadget.server.protocol.connection import PeerConnection
from gadget.server.protocol.wire import PeerDisconnected
from jrsr_core.common.cancellation import Cancelled


class ResultSender:
    """Context manager of one scan; images that wait for their scale are sent when it is left.

    They are sent after an error as well, unless the peer has disconnected.

    Parameters
    ----------
    connection
        Connection of the peer.
    output
        Setting `output`: type of the pixels.
    """

    def __init__(self, connection: PeerConnection, output: str) -> None:
        self._connection = connection
        self._scale = CommonScale(output)

    def send(self, result: Result) -> None:
        """Send an image or map, or keep it until its scale is known."""
        self._send_all(self._scale.add(result.mrd))

    def _send_all(self, images: Iterable[ismrmrd.Image]) -> None:
        for image in images:
            self._connection.send(image)

    def __enter__(self) -> "ResultSender":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        has_ended = isinstance(error, PeerDisconnected | Cancelled)
        with closing(self._scale):
            if error is None or (isinstance(error, Exception) and not has_ended):
                self._send_all(self._scale.finish())
