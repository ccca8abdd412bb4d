"""Noise of measurements, kept for scans that name them in their header.

Scanners measure the noise once and send it with a configuration whose name begins with
`default_measurement_dependencies`. The header of a later scan names that measurement as its
dependency of type Noise.
"""

import logging
from collections import OrderedDict
from threading import Lock

from gadget.plain_text import plain
from jrsr_core.mrd.header.scan_header import ScanHeader
from jrsr_core.mrd.noise.measured import NoiseData

log = logging.getLogger("jrsr")

CONFIG = "default_measurement_dependencies"
"""Beginning of the names of configurations for noise measurements."""

MAX_BYTES = 2**28
"""Memory of all that is kept; the oldest are dropped."""


class NoiseStore:
    """Keeps noise by measurement id and scanner; for all connections of a server."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, tuple[str, ...]], NoiseData] = OrderedDict()
        self._lock = Lock()

    def keep(self, header: ScanHeader, noise: NoiseData) -> None:
        """Keep the noise of the measurement of this header, instead of what was kept before."""
        key = (header.measurement_id, header.device)
        with self._lock:
            self._kept.pop(key, None)
            self._kept[key] = noise
            while len(self._kept) > 1 and self._n_bytes > MAX_BYTES:
                self._kept.popitem(last=False)

    @property
    def _n_bytes(self) -> int:
        return sum(noise.samples.nbytes for noise in self._kept.values())

    def find(self, header: ScanHeader) -> NoiseData | None:
        """Return the noise that a scan depends on; None, and a warning, where it cannot be used."""
        wanted = header.noise_measurement_id
        if not wanted:
            return None
        with self._lock:
            named = [(device, n) for (name, device), n in self._kept.items() if name == wanted]
        noise = next((n for d, n in reversed(named) if header.is_of_same_device(d)), None)
        if noise is None:
            problem = "is of another scanner" if named else "was not received"
        elif header.n_coils not in (None, noise.samples.shape[0]):
            problem = f"has {noise.samples.shape[0]} channels, the scan has {header.n_coils}"
        elif {*noise.coil_names} != {*header.coil_names}:
            problem = "is of other coils"
        else:
            return noise
        log.warning("noise measurement %s %s and is not used", plain(wanted, 80), problem)
        return None
