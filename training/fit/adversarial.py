"""The adversarial loop, read from top to bottom: generator and discriminator in turn.

    G:  L_per + g_pix L_pix + g_rec L_rec + g_adv L_adv                           (paper, eq. 12)
    D:  L_dis = -log(1 - D(x)) - log D(x_GT), x the generator's image, detached   (eq. 11)

One step of each per batch. In the phases `recon` and `psnr` the discriminator rests, so it meets
images worth telling from true ones. What a step needs around it is in `run.py`.
"""

from collections.abc import Callable

import torch
from torch import nn

from training.config import RunConfig
from training.losses.objective import (
    adversarial_terms,
    detail_terms,
    magnitudes,
    reconstruction_terms,
)
from training.losses.pixel import discriminator_loss

from .run import Run


def fit(config: RunConfig, tell: Callable[[dict], None] | None = None) -> nn.Module:
    """Train to the last step and return the averaged generator; arguments as in `supervised.fit`.

    Raises
    ------
    ValueError
        What the recipe, the data or a checkpoint have wrong, in one line.
    TrainingDiverged
        Gradients of the generator stayed without a finite value.
    """
    with Run(config, tell) as run:
        nets = run.networks
        for names, scan in run.batches():
            # Generator.
            adversarial = run.phase.name == "full"
            output, truth = run.predict(names, scan)
            with run.fabric.autocast():
                terms = reconstruction_terms(output, truth, config, run.phase.name)
                if adversarial:
                    nets.discriminator.requires_grad_(False)
                    pair = magnitudes(output, truth)
                    terms |= detail_terms(pair, truth, config, run.perceptual, run.generator)
                    terms |= adversarial_terms(nets.discriminator, pair, config)
            loss = torch.stack(list(terms.values())).sum()
            finite = run.update(loss, nets.model, nets.optimizer)

            # Discriminator, on the same images.
            if adversarial and finite:
                nets.discriminator.requires_grad_(True)
                with run.fabric.autocast():
                    seen = pair.seen(config.flat_threshold)
                    fake, _ = nets.discriminator(seen.image.detach(), seen.zero_filled)
                    real, _ = nets.discriminator(seen.target, seen.zero_filled)
                loss = discriminator_loss(fake, real, config.gan)
                run.update(loss, nets.discriminator, nets.discriminator_optimizer)
                terms["discriminator"] = loss
            run.finish_step(terms, output, finite)
        return run.finish()
