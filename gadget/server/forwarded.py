"""Counts what passes by, to explain a scan without lines."""

from collections import Counter

from gadget.server.protocol.messages import ForwardedMessage
from gadget.server.protocol.wire import Id
from jrsr_core.mrd.errors import UnsupportedScan

BEFORE = "in the chain, put the external node before the reconstruction"

REMEDIES = {
    Id.RECON_DATA: (
        "ReconData",
        "in the chain, put the external node before BucketToBufferGadget (jrsr.xml), or before the "
        "first gadget (jrsr_raw.xml)",
    ),
    Id.IMAGE_ARRAY: ("image arrays", BEFORE),
    Id.IMAGE: ("images", f"{BEFORE}; a scanner has to send raw data"),
}
"""What a scan without lines consists of, and what to do."""


class Forwarded:
    """Counts forwarded messages by their id."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def add(self, message: ForwardedMessage) -> None:
        """Count a message."""
        self._counts[message.id] += 1

    def check(self, n_lines: int) -> None:
        """Decline a scan that has data but no lines.

        Raises
        ------
        UnsupportedScan
            It consists of ReconData or images; the text states where in a chain JRSR belongs.
        """
        if n_lines:
            return
        for number, (name, remedy) in REMEDIES.items():
            if count := self._counts[number]:
                raise UnsupportedScan(
                    f"{count} {name} and no lines came, expected lines or buckets: {remedy}"
                )
