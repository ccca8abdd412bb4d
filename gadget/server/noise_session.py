"""The session of a noise measurement: its noise lines are kept, no image is made."""

import logging
from typing import Any

import numpy as np

from gadget.server.protocol.connection import PeerConnection
from gadget.server.protocol.inbox import Inbox
from gadget.server.protocol.messages import Lines
from gadget.settings import Settings
from jrsr_core.mrd.errors import BadScan
from jrsr_core.mrd.header.scan_header import ScanHeader
from jrsr_core.mrd.lines.acquired import NOISE, LineList, has_flag, line_bytes
from jrsr_core.mrd.noise.measured import noise_of_scan

from .noise_store import CONFIG, NoiseStore
from .session import Outcome, Session

log = logging.getLogger("jrsr")


def is_noise_measurement(peer: PeerConnection) -> bool:
    """Return whether the name of the configuration is that of a noise measurement."""
    return (peer.config_name or "").startswith(CONFIG)


class NoiseSession(Session):
    """Receives a noise measurement and keeps it in `store`."""

    def __init__(self, connection: PeerConnection, inbox: Inbox, store: NoiseStore) -> None:
        super().__init__(connection, inbox)
        self._store = store

    def receive(self) -> Outcome:
        """Serve the peer to its end; every error becomes the outcome."""
        return self.run(lambda: (Settings(), None))

    def _check(self, header: ScanHeader) -> None:
        """Accept every kind of scan; raises `BadScan` without a measurement id."""
        if not header.measurement_id:
            raise BadScan(
                "header: measurementInformation/measurementID is missing: no scan could "
                "name this noise measurement"
            )

    def _serve(self, header: ScanHeader, settings: Settings, engine: Any) -> None:
        heads: list[np.ndarray] = []
        data: list[np.ndarray] = []
        for items in self._inbox.batches():
            for item in items:
                if isinstance(item, Lines):
                    self.outcome.n_lines += len(item.lines.heads)
                    for i in np.flatnonzero(has_flag(item.lines.heads, NOISE)).tolist():
                        heads.append(item.lines.heads[i : i + 1])
                        data.append(item.lines.data[i])
            self._inbox.set_held(line_bytes(data))
        noise = noise_of_scan(header, LineList(np.concatenate(heads), data)) if heads else None
        if noise is None:
            raise BadScan(f"noise measurement has no noise lines among {self.outcome.n_lines}")
        self._store.keep(header, noise)
        log.info("noise of measurement kept: %d lines, %d channels", len(heads), len(noise.samples))
