"""The ACS that all images of a slice share; it is read once."""

from torch import Tensor

from jrsr_core.calibration.compression import CoilCompressor
from jrsr_core.calibration.loud_coils import coil_weights, weighted
from jrsr_core.data import Counters
from jrsr_core.mrd.acs.axes import AcsKey
from jrsr_core.mrd.acs.lines import MIN_LINES, CalibrationLines
from jrsr_core.mrd.planning.plan import ScanPlan

from .accumulate import LineReader
from .hybrid import hybrid_acs
from .read_acs import acs_of_block, read_block
from .shared import SharedState


class SharedAcs:
    """Reads the ACS of images.

    Parameters
    ----------
    shared
        Keeps what was read.
    weigh
        Whether loud coils are given less weight.
    """

    def __init__(
        self, reader: LineReader, plan: ScanPlan, shared: SharedState, *, weigh: bool
    ) -> None:
        self._reader, self._plan, self._shared = reader, plan, shared
        self._weigh = weigh
        self._block: tuple[tuple, Tensor] | None = None

    def of(self, counters: Counters) -> Tensor:
        """Return the ACS of an image, ``(coil, ay, ax)`` or ``(coil, ay, az, ax)``.

        Lines that turn out to be broken may leave less of it than the headers promise. It then
        comes from the next image of the slice that has one, and the images before it have none.
        """
        plan, known = self._plan, self._shared.acs
        key = plan.acs_keys[counters]
        if key in known:
            return known[key]
        chosen = plan.calibration[key]
        acs = _acs_of(self._read_block(chosen), chosen)
        if _n_lines(acs) < MIN_LINES <= min(chosen.acs_size(self._reader.source.heads)):
            own = CalibrationLines.of_images(
                "shared", plan.groups[counters], plan.layout_of(counters)
            )
            # Past the block that is kept: the other images ask for it again.
            acs = max(_acs_of(read_block(self._reader, own), own), acs, key=_n_lines)
            if _n_lines(acs) < MIN_LINES:
                return self._with_weights(key, acs)
        known[key] = self._with_weights(key, acs)
        return known[key]

    def hybrid(self, counters: Counters, n_virtual: int) -> tuple[Tensor, CoilCompressor | None]:
        """Return the ACS in hybrid space and its compression, one for all volumes of a slab."""
        key, known = self._plan.acs_keys[counters], self._shared.hybrid
        if key in known:
            return known[key]
        made = hybrid_acs(self.of(counters), n_virtual)
        if key in self._shared.acs:
            known[key] = made
        return made

    def weights(self, counters: Counters) -> Tensor | None:
        """Return the weights of the coils by which the ACS was multiplied; None for none."""
        return self._shared.weights.get(self._plan.acs_keys[counters])

    def _with_weights(self, key: AcsKey, acs: Tensor) -> Tensor:
        """Give loud coils less weight, and keep the weights."""
        if self._weigh and acs.numel():
            # Of a 3-D scan the central partition.
            weights = coil_weights(acs if acs.ndim == 3 else acs[:, :, acs.shape[2] // 2])
            self._shared.weights[key], acs = weights, weighted(acs, weights)
        return acs

    def _read_block(self, chosen: CalibrationLines) -> Tensor:
        """Read calibration lines; the last block is kept, for the slices of one volume."""
        key = (chosen.kind, chosen.grid, *chosen.lines[[0, -1]], len(chosen.lines))
        if self._block is None or self._block[0] != key:
            self._block = (key, read_block(self._reader, chosen))
        return self._block[1]


def _acs_of(block: Tensor, chosen: CalibrationLines) -> Tensor:
    acs = acs_of_block(block, chosen) if block.numel() else block
    return acs if (scale := chosen.image.lr_scale) == 1 else scale * acs


def _n_lines(acs: Tensor) -> int:
    """Return the smaller side of an ACS ``(coil, ay, ax)``, in 3-D of ``(coil, ay, az, ax)``."""
    return min(acs.shape[1:3])
