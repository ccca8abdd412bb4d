"""`Reconstructor`: one slice of k-space in, one HR image out. No files, no sockets.

calibrate -> model -> scanner's own scale, and the fallback image where the model cannot serve:
CG-SENSE, else the zero-filled root sum of squares, interpolated to the HR grid.
"""

import dataclasses
import time

import torch
from torch import Tensor

from jrsr_core.calibration.cache import CoilCache
from jrsr_core.calibration.calibrate import (
    CalibratedSlice,
    CoilCalibration,
    calibrate,
    calibrate_coils,
)
from jrsr_core.calibration.fold_over import put_back
from jrsr_core.calibration.settings import CalibrationSettings, hr_shape
from jrsr_core.data import KSpaceSlice, KSpaceVolume, ReconImage, ReconReport
from jrsr_core.models.cg_sense import CgSense
from jrsr_core.models.interfaces import JointModel, ModelOutput
from jrsr_core.models.precision import networks_in, pick_precision
from jrsr_core.physics.fourier import ifft2c
from jrsr_core.physics.resolution import crop_or_pad, sinc_interpolate
from jrsr_core.physics.sense import SenseOperator
from jrsr_core.weights import WeightsCard

from .quality import hallucination_maps, relative_size
from .samples import check_slice, is_finite, without_bad_samples
from .warnings import image_figures, scan_figures


class Reconstructor:
    """Callable `KSpaceSlice` -> `ReconImage`.

    Parameters
    ----------
    model
        A joint model, or a reconstruction and an upsampling in sequence.
    name
        Its name, for reports.
    cards
        Of its weights: none, one, or one per part.
    with_maps
        Whether images come with the maps of `quality`.
    precision
        Of the networks, see `models.precision`.
    """

    def __init__(
        self,
        model: JointModel,
        *,
        name: str,
        cards: tuple[WeightsCard, ...] = (),
        settings: CalibrationSettings | None = None,
        device: str | torch.device = "cpu",
        with_maps: bool = False,
        precision: str = "32",
    ) -> None:
        self.with_maps = with_maps
        self.device = torch.device(device)
        self.precision = precision
        self._arithmetic = pick_precision(precision, self.device)
        self.model = model.to(self.device).eval()
        self.name = name
        self.cards = cards
        settings = settings or CalibrationSettings()
        self.settings = dataclasses.replace(settings, n_maps=model.n_maps)
        self._shared = CoilCache()

    @torch.inference_mode()
    def __call__(self, slice_: KSpaceSlice) -> ReconImage:
        """Reconstruct one slice.

        Raises
        ------
        ValueError
            No usable ACS, k-space not finite or empty, matrix too small, or an image that is not
            finite; the message is one line.
        """
        return self.batch([slice_], [self.calibrated(slice_)])[0]

    @torch.inference_mode()
    def batch(
        self, slices: list[KSpaceSlice], calibrated: list[CalibratedSlice]
    ) -> list[ReconImage]:
        """Reconstruct slices of one mask together, after `calibrated`; raises as a call does.

        The fixed point is sought until the last of them has converged, so that an image may differ
        within the tolerance of the solver from the one made alone.
        """
        start = time.perf_counter()
        together = stack_slices(calibrated)
        output = self.model_output(together)
        if not is_finite(output.image):
            raise ValueError(f"{self.name} gave an image that is not finite")
        seconds = (time.perf_counter() - start) / len(slices)
        parts = [sample_of(output, i) for i in range(len(slices))]
        return [
            self._image(slice_, own, part, own.seconds + seconds)
            for slice_, own, part in zip(slices, calibrated, parts, strict=True)
        ]

    def model_output(self, calibrated: CalibratedSlice) -> ModelOutput:
        """Run the model alone, in its precision, on the scale of calibrated k-space."""
        with networks_in(self._arithmetic, self.device):
            output = self.model(calibrated.kspace, calibrated.sense, calibrated.noise_std)
        image = output.image if output.image.is_complex() else output.image.float()
        return dataclasses.replace(output, image=image)

    @property
    def weights_sha256(self) -> str:
        """Hash of the weights, of two parts joined by "+"; empty for models without."""
        return "+".join(card.sha256 for card in self.cards)

    def _image(
        self, slice_: KSpaceSlice, calibrated: CalibratedSlice, output: ModelOutput, total: float
    ) -> ReconImage:
        maps, whole = self.maps(output, calibrated), with_folded(output, calibrated)
        seconds = {"calibration": calibrated.seconds, **output.seconds, "total": total}
        report = ReconReport(
            model=self.name,
            weights_sha256=self.weights_sha256,
            scale=calibrated.scale,
            seconds=seconds,
            **scan_figures(slice_, calibrated),
            **image_figures(self.cards, slice_, calibrated, output, whole),
            **{k: relative_size(maps[k], output.image) for k in maps if k != "hallucination"},
        )
        image = _finish(slice_, whole.image[0], whole.low_resolution[0], report)
        scaled = {name: (report.scale * value[0]).cpu() for name, value in maps.items()}
        return dataclasses.replace(image, maps=scaled)

    def maps(self, output: ModelOutput, calibrated: CalibratedSlice) -> dict[str, Tensor]:
        """Return the maps of `quality` where they are wanted."""
        return hallucination_maps(output, calibrated) if self.with_maps else {}

    def on_device(self, slice_: KSpaceSlice) -> KSpaceSlice:
        """Return the slice with its arrays on our device."""
        return _to_device(slice_, self.device)

    @torch.inference_mode()
    def calibrated(self, slice_: KSpaceSlice) -> CalibratedSlice:
        """Check and calibrate on our device; slices that share their ACS share their maps.

        Raises
        ------
        ValueError
            As on a call.
        """
        check_slice(slice_, self.settings.kernel_width)
        moved = self.on_device(slice_)

        def coils() -> CoilCalibration:
            return calibrate_coils(moved, self.settings)

        shared = self._shared.get(slice_.acs, slice_.mask, coils) if slice_.is_acs_shared else None
        return calibrate(moved, self.settings, shared)

    def coils_of_plane(self, volume: KSpaceVolume, x: int) -> CoilCalibration:
        """Calibrate one readout position of a 3-D scan; shared calibrations are found once."""

        def coils() -> CoilCalibration:
            return calibrate_coils(self.on_device(volume.position(x)), self.settings)

        if not volume.is_acs_shared:
            return coils()
        return self._shared.get(volume.acs, volume.mask, coils, x)

    @torch.inference_mode()
    def fallback(self, slice_: KSpaceSlice, reason: str) -> ReconImage:
        """Return an image without the model, marked as such in its report.

        CG-SENSE if maps can be estimated, else the root sum of squares of the zero-filled coil
        images; samples that are not finite count as not measured.
        """
        slice_ = without_bad_samples(slice_)
        try:
            calibrated = self.calibrated(slice_)
            sense = calibrated.sense
            central = sense.low_resolution_kspace(calibrated.kspace)
            low_sense = sense.single_map().at_low_resolution()
            low_resolution = put_back(CgSense()(central, low_sense), calibrated.folded)
            low_resolution = calibrated.scale * low_resolution
            method = "cg-sense+sinc"
        except ValueError:
            central = crop_or_pad(slice_.kspace, slice_.lr_shape)
            combined = ifft2c(central).abs().square().sum(0, keepdim=True).sqrt()
            low_resolution = combined.to(torch.complex64)
            method = "zero-filled+sinc"
        shape = hr_shape((low_resolution.shape[-2], low_resolution.shape[-1]))
        image = sinc_interpolate(low_resolution, shape)[0]
        report = ReconReport(
            model=method,
            fallback=reason,
            acceleration=slice_.acceleration,
            n_readout=slice_.kspace.shape[-1],
        )
        return _finish(slice_, image, low_resolution[0], report)


def with_folded(output: ModelOutput, calibrated: CalibratedSlice) -> ModelOutput:
    """Return the images of the whole object, where it is larger than the field of view."""
    image, low_resolution = (
        put_back(x, calibrated.folded) for x in (output.image, output.low_resolution)
    )
    return dataclasses.replace(output, image=image, low_resolution=low_resolution)


def _to_device(slice_: KSpaceSlice, device: torch.device) -> KSpaceSlice:
    moved = {name: getattr(slice_, name).to(device) for name in ("kspace", "mask", "acs")}
    return dataclasses.replace(slice_, **moved)


def _finish(slice_: KSpaceSlice, image: Tensor, low: Tensor, report: ReconReport) -> ReconImage:
    """Back to the scanner's scale and to the CPU."""
    scale = report.scale
    return ReconImage(
        image=(scale * image).cpu(),
        low_resolution=(low if report.fallback else scale * low).cpu(),
        geometry=slice_.geometry,
        counters=slice_.counters,
        stamp=slice_.stamp,
        report=report,
    )


# FOLDED jrsr_core/batching.py: Slices of one mask through a model together, and apart again.
def stack_slices(slices: list[CalibratedSlice]) -> CalibratedSlice:
    """Put slices of one mask into one batch."""
    if len(slices) == 1:
        return slices[0]
    first = slices[0].sense
    sense = SenseOperator(
        torch.cat([s.sense.csm for s in slices]),
        first.mask,
        has_map_axis=first.coils.has_map_axis,
        lr_shape=first.lr_shape,
    )
    return dataclasses.replace(
        slices[0],
        kspace=torch.cat([s.kspace for s in slices]),
        sense=sense,
        noise_std=torch.cat([s.noise_std for s in slices]),
        seconds=sum(s.seconds for s in slices),
        folded=_stack_folded(slices),
    )


def _stack_folded(slices: list[CalibratedSlice]) -> Tensor | None:
    known = [s.folded for s in slices if s.folded is not None]
    if not known:
        return None
    nothing = torch.zeros_like(known[0])
    return torch.cat([nothing if s.folded is None else s.folded for s in slices])


def sample_of(output: ModelOutput, index: int) -> ModelOutput:
    """Return one sample of a batch, with its share of the time."""
    n = len(output.image)
    one = slice(index, index + 1)
    return dataclasses.replace(
        output,
        image=output.image[one],
        low_resolution=output.low_resolution[one],
        residual=None if output.residual is None else output.residual[one],
        prior=None if output.prior is None else output.prior[one],
        prior_weight=None if output.prior_weight is None else output.prior_weight[one],
        seconds={name: value / n for name, value in output.seconds.items()},
    )
