"""`Reconstructor`: k-space of a slice or a volume in, one finished image out.

`slices` reconstructs a slice, `volume` a 3-D scan, `fallback` what the model cannot.
"""

import copy
from collections.abc import Callable
from dataclasses import replace

import torch

from jrsr_core.calibration.loud_coils import with_weighted_coils
from jrsr_core.calibration.settings import CalibrationSettings
from jrsr_core.calibration.stated_noise import without_excessive_noise
from jrsr_core.common.cancellation import Cancelled
from jrsr_core.data import KSpaceSlice, KSpaceVolume, ReconImage
from jrsr_core.data.kspace import ASSUMED_GEOMETRY
from jrsr_core.models.interfaces import JointModel
from jrsr_core.weights.card import WeightsCard

from .contradiction import Contradiction
from .fallback import fallback_image
from .field_of_view import crop_to_fov
from .slices import SliceReconstructor
from .volume import reconstruct_volume

ON_FAILURE = ("stop", "fallback")
"""Behaviour for an image that the model cannot make: raise the error, or return a fallback."""


class Reconstructor:
    """Callable `KSpaceSlice` or `KSpaceVolume` -> `ReconImage`; `load_model` makes one.

    Parameters
    ----------
    model
        A joint model; this and the other parameters are those of `SliceReconstructor`.
    on_failure
        One of `ON_FAILURE`.

    Attributes
    ----------
    slices
        Reconstructs slices, uncropped and without a fallback.

    Raises
    ------
    ValueError
        An unknown `on_failure`, or an option that is not possible.
    """

    def __init__(
        self,
        model: JointModel,
        *,
        name: str,
        cards: tuple[WeightsCard, ...] = (),
        maps: bool = False,
        device: str | torch.device = "cpu",
        calibration: CalibrationSettings | None = None,
        precision: str = "auto",
        on_failure: str = "stop",
        accept_contradictions: bool = False,
        denoise: float = 0.0,
    ) -> None:
        if on_failure not in ON_FAILURE:
            known = ", ".join(ON_FAILURE)
            raise ValueError(f"on_failure is {on_failure!r}, known: {known}")
        self.on_failure = on_failure
        self.slices = SliceReconstructor(
            model,
            name=name,
            cards=cards,
            maps=maps,
            device=device,
            calibration=calibration,
            precision=precision,
            accept_contradictions=accept_contradictions,
            denoise=denoise,
        )

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.slices.name

    @property
    def cards(self) -> tuple[WeightsCard, ...]:
        """Cards of its weights: none, one, or one per part."""
        return self.slices.cards

    @property
    def model(self) -> JointModel:
        """The model."""
        return self.slices.model

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.slices.device

    def copied_to(self, device: str | torch.device) -> "Reconstructor":
        """Return a copy with the same options on a device; this one stays where it is.

        On the same device both use one model, else the copy has its own.
        """
        copied, device = copy.copy(self), torch.device(device)
        copied.slices = copy.copy(self.slices)
        model = self.model if device == self.device else copy.deepcopy(self.model)
        copied.slices.place(model, device)
        return copied

    def __call__(
        self, data: KSpaceSlice | KSpaceVolume, *, tick: Callable[[], None] | None = None
    ) -> ReconImage:
        """Return the image, cropped to the field of view that the scanner would deliver.

        Parameters
        ----------
        data
            A slice or a 3-D scan.
        tick
            Called once per readout position of a 3-D scan, for progress.

        Raises
        ------
        ValueError
            No usable ACS, k-space not finite or empty, matrix too small, an image that is not
            finite or contradicts its measurement. With ``on_failure="fallback"`` a marked
            conventional reconstruction is returned instead; `ReconReport.fallback` is the reason.
        TypeError
            Neither a slice nor a volume.
        """
        if not isinstance(data, KSpaceSlice | KSpaceVolume):
            raise TypeError(
                f"a reconstructor takes a KSpaceSlice or a KSpaceVolume, got "
                f"{type(data).__name__}: KSpaceSlice.from_array(kspace, mask) makes one of arrays"
            )
        try:
            data = with_weighted_coils(data)
            image = self._image_of(without_excessive_noise(data), tick)
        except Cancelled:
            raise
        except Exception as error:
            if self.on_failure == "stop":
                hints = [note for note in data.notes if note != ASSUMED_GEOMETRY]
                if isinstance(error, Contradiction) and hints:
                    # What was noted about the samples may be the cause.
                    raise Contradiction("; ".join([str(error), *hints])) from None
                raise
            reason = " ".join(str(error).split()) or type(error).__name__
            image = fallback_image(self.slices, data, reason, tick=tick)
        origin = data.origin
        return replace(crop_to_fov(image, origin.recon_fov_mm), origin=origin) if origin else image

    def _image_of(
        self, data: KSpaceSlice | KSpaceVolume, tick: Callable[[], None] | None
    ) -> ReconImage:
        if isinstance(data, KSpaceVolume):
            return reconstruct_volume(self.slices, data, tick=tick)
        return self.slices(data)

    def __repr__(self) -> str:
        maps = ", maps" if self.slices.with_maps else ""
        return f"Reconstructor({self.name}, on {self.device}{maps})"
