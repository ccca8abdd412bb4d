"""What a generator is trained for: the weighted sum of the losses of its recipe.

L_G = g_per L_per + g_pix L_pix + g_rec L_rec + g_adv L_adv                     (paper, eq. 12)
+ g_feature L_feature + g_buddy L_buddy + g_back L_back                   (baselines)
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from jrsr_core.models.interfaces import ModelOutput
from training.config import RunConfig
from training.data.scans import TrainingScan

from .discriminators import FEATURE_WEIGHTS
from .pixel import (
    back_projection_loss,
    best_buddy_loss,
    feature_loss,
    generator_loss,
    l1,
    random_crop,
    textured,
)


@dataclass(frozen=True, eq=False)
class Pair:
    """Image and truth as magnitudes ``(batch, y, x)``, and the zero-filled LR magnitude."""

    image: Tensor
    target: Tensor
    zero_filled: Tensor

    def seen(self, threshold: float) -> "Pair":
        """Return the pair with flat regions set to zero: what the discriminator sees."""
        if not threshold:
            return self
        shape = (self.target.shape[-2], self.target.shape[-1])
        mask = textured(self.zero_filled, shape, threshold)
        return Pair(self.image * mask, self.target * mask, self.zero_filled)


def magnitudes(output: ModelOutput, scan: TrainingScan) -> Pair:
    """Return image and truth of a batch as the discriminator and the trunk take them."""
    return Pair(output.image.abs().float(), scan.target.abs(), scan.zero_filled().abs())


def reconstruction_terms(
    output: ModelOutput, scan: TrainingScan, config: RunConfig, phase: str
) -> dict[str, Tensor]:
    """Weighted pixel and reconstruction losses.

    In the phase `recon` there is no image yet. In `psnr` the pixel loss counts fully, whatever
    little weight it has beside the perceptual loss.
    """
    rec = output.low_resolution
    if phase == "recon":
        return {"rec": l1(rec, scan.lr_target)}
    terms = {}
    gamma_pix = 1.0 if phase == "psnr" else config.gamma_pix
    if gamma_pix:
        terms["pix"] = gamma_pix * l1(output.image, scan.target)
    if config.gamma_rec and rec.requires_grad:
        terms["rec"] = config.gamma_rec * l1(rec, scan.lr_target)
    return terms


def detail_terms(
    pair: Pair,
    scan: TrainingScan,
    config: RunConfig,
    perceptual: nn.Module | None,
    generator: Generator,
) -> dict[str, Tensor]:
    """Weighted losses on the magnitude: perceptual, best-buddy, back-projection."""
    terms = {}
    if perceptual is not None:
        terms["per"] = config.gamma_per * perceptual(pair.image, pair.target)
    if config.gamma_buddy:
        crops = random_crop((pair.image, pair.target), config.buddy_crop, generator)
        terms["buddy"] = config.gamma_buddy * best_buddy_loss(*crops)
    if config.gamma_back:
        terms["back"] = config.gamma_back * back_projection_loss(pair.image, scan.lr_target)
    return terms


def adversarial_terms(discriminator: nn.Module, pair: Pair, config: RunConfig) -> dict[str, Tensor]:
    """Weighted adversarial and feature losses of the generator; D's own weights are left alone."""
    seen = pair.seen(config.flat_threshold)
    fake, fake_features = discriminator(seen.image, seen.zero_filled)
    real, real_features = fake, []
    if config.gan == "relativistic" or config.gamma_feature:
        with torch.no_grad():
            real, real_features = discriminator(seen.target, seen.zero_filled)
    terms = {"adv": config.gamma_adv * generator_loss(fake, real, config.gan)}
    if config.gamma_feature:
        loss = feature_loss(fake_features, real_features, FEATURE_WEIGHTS)
        terms["feature"] = config.gamma_feature * loss
    return terms
