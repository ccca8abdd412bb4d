"""The weighted sum of the losses of a recipe, which the generator minimises.

L_G = g_per L_per + g_pix L_pix + g_rec L_rec + g_adv L_adv                 (paper, eq. 12)
      + g_feature L_feature + g_buddy L_buddy + g_back L_back               (baselines)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from jrsr_core.models.interfaces import ModelOutput
from training.config.groups import Loss
from training.data.scans import TrainingScan

from .best_buddy import CROP, best_buddy_loss, random_crop
from .discriminators import FEATURE_WEIGHTS
from .pixel import back_projection_loss, feature_loss, generator_loss, l1, textured


@dataclass(frozen=True, eq=False)
class Pair:
    """Image and truth as magnitudes ``(batch, y, x)``, and the zero-filled LR magnitude."""

    image: Tensor
    target: Tensor
    zero_filled: Tensor

    def without_flat(self, threshold: float) -> "Pair":
        """Return the pair with flat regions set to zero, as the discriminator is given it."""
        if not threshold:
            return self
        shape = (self.target.shape[-2], self.target.shape[-1])
        mask = textured(self.zero_filled, shape, threshold)
        return Pair(self.image * mask, self.target * mask, self.zero_filled)


def magnitudes(output: ModelOutput, scan: TrainingScan) -> Pair:
    """Return image and truth of a batch for the discriminator and the perceptual network."""
    return Pair(output.image.abs().float(), scan.target.abs(), scan.zero_filled().abs())


def reconstruction_terms(
    output: ModelOutput, scan: TrainingScan, loss: Loss, phase: str
) -> dict[str, Tensor]:
    """Return the weighted pixel and reconstruction losses.

    In the phase `recon` there is no HR image yet. In `psnr` the pixel loss has the weight 1, as its
    own weight is meant for its place beside the perceptual loss.
    """
    rec = output.low_resolution
    if phase == "recon":
        return {"rec": l1(rec, scan.lr_target)}
    terms = {}
    weight = 1.0 if phase == "psnr" else loss.pix
    if weight:
        terms["pix"] = weight * l1(output.image, scan.target)
    if loss.rec and rec.requires_grad:
        terms["rec"] = loss.rec * l1(rec, scan.lr_target)
    return terms


def detail_terms(
    pair: Pair,
    scan: TrainingScan,
    loss: Loss,
    perceptual: nn.Module | None,
    rng: Generator,
    names: Sequence[str] = (),
) -> dict[str, Tensor]:
    """Return the weighted losses on the magnitude: perceptual, best-buddy, back-projection.

    `rng` draws the window of the best-buddy loss; `names` identify truths that come again with the
    same pixels.
    """
    terms = {}
    if perceptual is not None:
        terms["per"] = loss.per * perceptual(pair.image, pair.target, names)
    if loss.buddy:
        crops = random_crop((pair.image, pair.target), CROP, rng)
        terms["buddy"] = loss.buddy * best_buddy_loss(*crops)
    if loss.back:
        terms["back"] = loss.back * back_projection_loss(pair.image, scan.lr_target)
    return terms


def adversarial_terms(discriminator: nn.Module, pair: Pair, loss: Loss) -> dict[str, Tensor]:
    """Return the weighted adversarial and feature losses of the generator."""
    settings = loss.discriminator
    pair = pair.without_flat(settings.flat_threshold)
    fake, fake_features = discriminator(pair.image, pair.zero_filled)
    real, real_features = fake, []
    if settings.gan == "relativistic" or loss.feature:
        with torch.no_grad():
            real, real_features = discriminator(pair.target, pair.zero_filled)
    terms = {"adv": loss.adv * generator_loss(fake, real, settings.gan)}
    if loss.feature:
        distance = feature_loss(fake_features, real_features, FEATURE_WEIGHTS)
        terms["feature"] = loss.feature * distance
    return terms
