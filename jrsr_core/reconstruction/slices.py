"""`SliceReconstructor`: one slice of k-space in, one HR image out. No files, no sockets.

Steps: calibrate, run the model, return to the scanner's own scale. `fallback` is the reconstruction
where the model cannot be used, `volume` the one of 3-D scans.
"""

import dataclasses
import time

import torch
from torch import Tensor

from jrsr_core.calibration.calibrate import CalibratedSlice, calibrate
from jrsr_core.calibration.coils import CoilCache, CoilCalibration, calibrate_coils
from jrsr_core.calibration.fold_over import put_back
from jrsr_core.calibration.own_lines import coils_of_own_lines, coils_that_explain
from jrsr_core.calibration.settings import CalibrationSettings, check_matrix
from jrsr_core.data import KSpaceSlice, KSpaceVolume, ReconImage
from jrsr_core.models.consistency import check_denoise, denoising
from jrsr_core.models.evaluation import evaluating
from jrsr_core.models.interfaces import JointModel, ModelOutput, check_returned
from jrsr_core.models.precision import networks_in, pick_precision
from jrsr_core.numeric import checked_flag
from jrsr_core.tensors import is_finite
from jrsr_core.weights.card import WeightsCard

from .batch import sample_of, stack_slices
from .contradiction import contradiction
from .quality import hallucination_maps, unit_of
from .report import ReportFigures
from .samples import check_samples


class SliceReconstructor:
    """Callable `KSpaceSlice` -> `ReconImage`, uncropped.

    Parameters
    ----------
    model
        A joint model, or a reconstruction and an upsampling in sequence; moved to the device. It is
        in evaluation mode during a call alone.
    name
        Its name, for reports.
    cards
        Cards of its weights: none, one, or one per part.
    maps
        Whether images come with the maps of `quality`.
    device
        Where the model and the calibration are computed.
    calibration
        Coil compression and ESPIRiT; the defaults where None. `n_maps` is that of the model.
    precision
        Of the networks, see `models.precision`.
    accept_contradictions
        Whether images that contradict their measurement are returned, to be judged, instead of
        raising `Contradiction`; always so for systems that do not seek agreement (zero-filled).
    denoise
        From 0, the measured noise is kept, to 1, it is removed; see `models.consistency`.
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
        accept_contradictions: bool = False,
        denoise: float = 0.0,
    ) -> None:
        check_denoise(model, denoise)
        self.denoise = denoise
        self.with_maps = checked_flag("maps", maps)
        accepts = checked_flag("accept_contradictions", accept_contradictions)
        self.accept_contradictions = accepts or not model.explains_measurement
        self.precision = precision
        self.name = name
        self.cards = cards
        self.settings = dataclasses.replace(checked_settings(calibration), n_maps=model.n_maps)
        self.place(model, torch.device(device))

    def place(self, model: JointModel, device: torch.device) -> None:
        """Use a model on a device, to which it is moved; coils that were calibrated are dropped."""
        self.device = device
        self._arithmetic = pick_precision(self.precision, device)
        self.model = model.to(device)
        self._shared = CoilCache()

    @torch.inference_mode()
    def __call__(self, slice_: KSpaceSlice) -> ReconImage:
        """Return the image of one slice.

        Raises
        ------
        ValueError
            No usable ACS, k-space not finite or empty, matrix too small, an image that is not
            finite, or a `Contradiction`; the message is one line.
        """
        return self.batch([slice_], [self.calibrated(slice_)])[0]

    @torch.inference_mode()
    def batch(
        self, slices: list[KSpaceSlice], calibrated: list[CalibratedSlice]
    ) -> list[ReconImage]:
        """Return the images of slices of one mask, computed together.

        The fixed point is sought until the last of them has converged, so that an image may differ
        within the tolerance of the solver from the one computed alone. An image that contradicts
        its measurement is computed again with the maps of its own lines. Raises as a call does.
        """
        images = self._images(slices, calibrated)
        return [self._agreeing(s, image) for s, image in zip(slices, images, strict=True)]

    def _agreeing(self, slice_: KSpaceSlice, image: ReconImage) -> ReconImage:
        """Return the image if it agrees with its measurement, else one of its own lines."""
        error = None if self.accept_contradictions else contradiction(image.report)
        if error is None:
            return image
        moved = self.on_device(slice_)
        coils = coils_of_own_lines(moved, self.settings)
        if coils is None:
            raise error
        (image,) = self._images([slice_], [calibrate(moved, self.settings, coils)])
        error = contradiction(image.report)
        if error is not None:
            raise error
        return image

    def _images(
        self, slices: list[KSpaceSlice], calibrated: list[CalibratedSlice]
    ) -> list[ReconImage]:
        start = time.perf_counter()
        output = self.model_output(stack_slices(calibrated))
        if not is_finite(output.image):
            raise ValueError(f"{self.name} gave an image that is not finite")
        seconds = (time.perf_counter() - start) / len(slices)
        parts = [sample_of(output, i) for i in range(len(slices))]
        return [
            self._image(slice_, own, part, own.seconds + seconds)
            for slice_, own, part in zip(slices, calibrated, parts, strict=True)
        ]

    def model_output(self, calibrated: CalibratedSlice) -> ModelOutput:
        """Return the output of the model, in its precision, on the scale of calibrated k-space.

        Raises
        ------
        ValueError
            The model returned images of another shape.
        """
        kspace, sense, n = calibrated.kspace, calibrated.sense, len(calibrated.kspace)
        precision = networks_in(self._arithmetic, self.device)
        with evaluating(self.model), denoising(self.denoise), precision:
            output = self.model(kspace, sense, calibrated.noise_std)
        check_returned(self.model, output.image, kspace.shape, (n, *sense.image_shape))
        check_returned(self.model, output.low_resolution, kspace.shape, (n, *sense.lr_shape))
        image = output.image if output.image.is_complex() else output.image.float()
        return dataclasses.replace(output, image=image)

    def maps(self, output: ModelOutput, calibrated: CalibratedSlice) -> dict[str, Tensor]:
        """Return the maps of `quality`; none unless the reconstructor is to make them."""
        return hallucination_maps(output, calibrated) if self.with_maps else {}

    def _image(
        self, slice_: KSpaceSlice, calibrated: CalibratedSlice, output: ModelOutput, seconds: float
    ) -> ReconImage:
        whole = with_folded(output, calibrated)
        scale, maps = calibrated.scale, self.maps(output, calibrated)
        image = (scale * whole.image[0]).cpu()
        if not is_finite(image):
            raise ValueError(f"{self.name} gave an image that is not finite in the scanner's scale")
        scaled = {name: (unit_of(name, scale) * v[0]).cpu() for name, v in maps.items()}
        figures = ReportFigures()
        figures.add(output, calibrated, whole)
        report = figures.report(
            slice_,
            model=self.name,
            cards=self.cards,
            noise_std=float(calibrated.noise_std) * scale,
            image=image,
            maps=scaled,
            seconds=seconds,
        )
        return ReconImage(
            image=image,
            low_resolution=(scale * whole.low_resolution[0]).cpu(),
            geometry=slice_.geometry,
            counters=slice_.counters,
            stamp=slice_.stamp,
            report=report,
            maps=scaled,
        )

    def on_device(self, slice_: KSpaceSlice) -> KSpaceSlice:
        """Return the slice with its arrays on the device of the reconstructor."""
        return dataclasses.replace(
            slice_,
            kspace=slice_.kspace.to(self.device),
            mask=slice_.mask.to(self.device),
            acs=slice_.acs.to(self.device),
        )

    @torch.inference_mode()
    def calibrated(self, slice_: KSpaceSlice) -> CalibratedSlice:
        """Check and calibrate a slice; slices that share their ACS share maps that explain them.

        Raises
        ------
        ValueError
            No usable ACS, k-space not finite or empty, or a matrix too small.
        """
        check_matrix(slice_.lr_shape, self.settings.kernel_width)
        check_samples(slice_.kspace)
        start = time.perf_counter()
        moved = self.on_device(slice_)

        def coils() -> CoilCalibration:
            return calibrate_coils(moved, self.settings)

        is_shared = slice_.is_acs_shared
        found = self._shared.get(slice_.acs, slice_.mask, coils) if is_shared else coils()
        coils_found = coils_that_explain(moved, found, self.settings)
        if not coils_found.csm.any():
            # An ACS of noise alone, as that of a slice of air: any maps give an image of noise, and
            # its residual tells if there was more.
            coils_found = calibrate_coils(moved, dataclasses.replace(self.settings, crop=0.0))
        calibrated = calibrate(moved, self.settings, coils_found)
        return dataclasses.replace(calibrated, seconds=time.perf_counter() - start)

    def coils_of_plane(
        self, volume: KSpaceVolume, x: int, *, own_lines: bool = False
    ) -> CoilCalibration:
        """Calibrate one readout position of a 3-D scan; a shared calibration is computed once.

        With `own_lines` maps come from the volume's own samples, where these suffice.
        """
        plane = self.on_device(volume.position(x))
        own = coils_of_own_lines(plane, self.settings) if own_lines else None
        if own is not None:
            return own

        def coils() -> CoilCalibration:
            return calibrate_coils(plane, self.settings)

        is_shared = volume.is_acs_shared
        found = self._shared.get(volume.acs, volume.mask, coils, x) if is_shared else coils()
        return coils_that_explain(plane, found, self.settings)


def checked_settings(calibration: object) -> CalibrationSettings:
    """Return the settings, the defaults for None; a `ValueError` for anything else."""
    if calibration is None:
        return CalibrationSettings()
    if not isinstance(calibration, CalibrationSettings):
        raise ValueError(
            f"calibration is {calibration!r}, expected CalibrationSettings: "
            "CalibrationSettings(n_virtual_coils=8)"
        )
    return calibration


def with_folded(output: ModelOutput, calibrated: CalibratedSlice) -> ModelOutput:
    """Return the images with what was folded onto them put back (`calibration.fold_over`)."""
    image, low_resolution = (
        put_back(x, calibrated.folded) for x in (output.image, output.low_resolution)
    )
    return dataclasses.replace(output, image=image, low_resolution=low_resolution)
