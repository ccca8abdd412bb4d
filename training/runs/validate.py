"""Judge weights on validation scans: PSNR, SSIM, SqueezeNet distance, and pictures of the first."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from jrsr_core.metrics.image import psnr, ssim
from jrsr_core.models.interfaces import JointModel
from training.config import RunConfig
from training.data.loading.batches import validation_scans
from training.data.manifest import Manifest
from training.data.scans import TrainingScan

N_PICTURES = 2


def no_scans(config: RunConfig, manifest: Manifest) -> str:
    """Return why a run that asks for validation has none; empty where it has scans for it."""
    keys = ("validate_every", "validate_minutes")
    asked = next((key for key in keys if getattr(config.log, key)), None)
    if asked is None or manifest.first_of_parts("val", config.log.validation_slices):
        return ""
    found = "no validation scans" if config.log.validation_slices else "log.validation_slices is 0"
    return f"{config.data}: {found}, so log.{asked} has no effect"


def predict(model: JointModel, scan: TrainingScan) -> Tensor:
    """Return the HR magnitude of a scan."""
    scan = scan if model.n_maps > 1 else scan.with_one_map()
    return model(scan.kspace, scan.sense, scan.noise_std).image.abs().float()


@torch.no_grad()
def validate(
    model: JointModel,
    config: RunConfig,
    folder: Path,
    manifest: Manifest,
    device: torch.device,
    perceptual: nn.Module | None = None,
    goes_on: Callable[[], bool] = lambda: True,
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Return the mean figures over the validation scans, and pictures of the first of them.

    The figures are `val_psnr`, `val_ssim` and, with a perceptual loss, `val_perceptual`. A picture
    is image, truth and five times the error side by side. Both are empty without validation scans.
    The validation ends early once `goes_on` says so; `val_slices` counts the scans.
    """
    figures: dict[str, list[float]] = {}
    pictures: dict[str, Tensor] = {}
    scans = enumerate(validation_scans(config, folder, manifest))
    # Asked before the scan, which may have to be made first.
    while goes_on() and (found := next(scans, None)):
        number, (name, scan) = found
        scan = scan.to(device)
        image, truth = predict(model, scan), scan.target.abs()
        values = {"psnr": float(psnr(image, truth)), "ssim": float(ssim(image, truth))}
        if perceptual is not None:
            values["perceptual"] = float(perceptual(image, truth))
        for key, value in values.items():
            figures.setdefault(f"val_{key}", []).append(value)
        if number < N_PICTURES:
            peak = truth.max()
            panels = (image[0] / peak, truth[0] / peak, 5 * (image[0] - truth[0]).abs() / peak)
            pictures[name] = torch.cat(panels, -1)
    row = {k: sum(v) / len(v) for k, v in figures.items()}
    n_slices = len(figures.get("val_psnr", ()))
    return row | ({"val_slices": n_slices} if row else {}), pictures
