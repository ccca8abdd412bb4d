"""The report of an image, of a slice or a volume: how it was made and what makes it suspect."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from jrsr_core.calibration.calibrate import CalibratedSlice
from jrsr_core.data import KSpaceSlice, KSpaceVolume, ReconReport
from jrsr_core.data.acceleration import sampled_acceleration
from jrsr_core.models.interfaces import ModelOutput
from jrsr_core.tensors import energy
from jrsr_core.weights.card import WeightsCard

from .contradiction import Residual
from .quality import ResidualPower, residual_power
from .warnings import group_warnings, image_warnings, signal_to_noise_db

SIGNIFICANT = 0.1
"""Share of the signal of the strongest position from which a position is judged by itself."""


class ReportFigures:
    """Figures of one image, gathered over the batches it is computed in.

    The k-space residuals are those of all samples together, the residual of the fixed point that
    of the worst position, the signal that of the position with the most. Warnings and `worst` take
    the k-space residuals of the worst slice, or position of a volume: the good ones around it would
    hide it.
    """

    def __init__(self) -> None:
        self._first: CalibratedSlice | None = None
        self._iterations = 0
        self._fixed_point_residual = math.nan
        self._power: list[ResidualPower] = []
        self._signal_power = self._denoise = 0.0
        self._folded = self._imaged = 0.0
        self._notes: dict[str, None] = {}
        self._seconds: dict[str, float] = {"calibration": 0.0}

    def add(self, output: ModelOutput, calibrated: CalibratedSlice, whole: ModelOutput) -> None:
        """Count a batch; `whole` is the output with what was folded onto it put back."""
        self._first = self._first or calibrated
        self._iterations = max(self._iterations, output.iterations)
        if output.residual is not None:
            # max() keeps its first argument where the second one is not a number.
            worst = float(output.residual.max())
            self._fixed_point_residual = max(worst, self._fixed_point_residual)
        self._power.append(residual_power(output, calibrated))
        if calibrated.folded is not None:
            self._folded += float(energy(calibrated.folded))
        self._imaged += float(energy(whole.image))
        self._denoise = output.denoise
        self._notes.update(dict.fromkeys(calibrated.notes))
        power = output.low_resolution.abs().square().mean((-2, -1))
        self._signal_power = max(self._signal_power, float(power.max()))
        self._seconds["calibration"] += calibrated.seconds
        for name, value in output.seconds.items():
            self._seconds[name] = self._seconds.get(name, 0.0) + value

    def residuals(self) -> tuple[float, float]:
        """Return the k-space residual of all samples, and what noise explains; NaN of nothing."""
        return self._all_power().residuals()

    def worst(self) -> Residual:
        """Return the k-space residual of the slice or position that contradicts most.

        Positions with less than `SIGNIFICANT` of the signal of the strongest one do not count.
        """
        power = self._all_power()
        signal = (power.measured - power.noise).clamp_min(0.0)
        excess = (power.contradicted - power.noise) / power.measured
        excess[~(signal >= SIGNIFICANT * signal.max())] = -math.inf
        index = int(excess.argmax())
        one = ResidualPower(*(x[index : index + 1] for x in vars(power).values()))
        return Residual(*one.residuals(), index if len(signal) > 1 else None)

    def _all_power(self) -> ResidualPower:
        parts = zip(*(vars(power).values() for power in self._power), strict=True)
        return ResidualPower(*(torch.cat(part) for part in parts))

    def report(
        self,
        source: KSpaceSlice | KSpaceVolume,
        *,
        model: str,
        cards: tuple[WeightsCard, ...],
        noise_std: float,
        image: Tensor,
        maps: Mapping[str, Tensor],
        seconds: float,
    ) -> ReconReport:
        """Return the report of the image.

        Parameters
        ----------
        source
            Slice or volume the image was computed from, with the noise level that was stated.
        model, cards
            Name of the model and the cards of its weights.
        noise_std
            sqrt(E|n|^2) of one sample of `source`.
        image, maps
            The finished image, and its maps of `quality` by name.
        seconds
            Wall-clock time of the whole image.
        """
        first = self._first
        if first is None:
            raise ValueError("no batch was added to the figures of this report")
        residual, expected = self.residuals()
        return ReconReport(
            model=model,
            weights_sha256="+".join(card.sha256 for card in cards),
            iterations=self._iterations,
            fixed_point_residual=self._fixed_point_residual,
            kspace_residual=residual,
            expected_residual=expected,
            taken_back=_relative_size(maps.get("taken_back"), image),
            unmeasured=_relative_size(maps.get("unmeasured"), image),
            folded=self._folded_share,
            denoise=self._denoise,
            snr_db=self._snr_db(first),
            noise_std=noise_std,
            noise_stated=source.noise_std is not None,
            scale=first.scale,
            acceleration=source.acceleration,
            acs_shape=first.acs_shape,
            n_readout=source.n_readout,
            n_virtual_coils=first.kspace.shape[1],
            seconds=self._seconds | {"total": seconds},
            warnings=self._warnings(first, source, cards),
        )

    def _warnings(
        self,
        first: CalibratedSlice,
        source: KSpaceSlice | KSpaceVolume,
        cards: tuple[WeightsCard, ...],
    ) -> tuple[str, ...]:
        """Return the notes of the source and of its calibration, then `image_warnings`."""
        notes = source.notes + tuple(group_warnings((note,) for note in self._notes))
        return notes + image_warnings(
            cards,
            folded=self._folded_share,
            fixed_point_residual=self._fixed_point_residual,
            residual=self.worst(),
            n_coils=first.kspace.shape[1],
            acceleration=sampled_acceleration(source.mask),
            n_acs=min(first.acs_shape),
            hr_size=first.sense.image_shape,
            noise_db=self._snr_db(first),
        )

    @property
    def _folded_share(self) -> float:
        """Size of what was folded onto the image, relative to the image."""
        return (self._folded / self._imaged) ** 0.5 if self._folded else 0.0

    def _snr_db(self, first: CalibratedSlice) -> float:
        return signal_to_noise_db(self._signal_power, float(first.noise_std[0]))


def _relative_size(part: Tensor | None, image: Tensor) -> float:
    """Return |part| / |image|: 0 for an empty image, NaN without a part."""
    if part is None:
        return math.nan
    norm = float(torch.linalg.vector_norm(image))
    return float(torch.linalg.vector_norm(part)) / norm if norm else 0.0
