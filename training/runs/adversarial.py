"""The adversarial loop, read from top to bottom: generator and discriminator in turn.

    G:  L_per + g_pix L_pix + g_rec L_rec + g_adv L_adv                           (paper, eq. 12)
    D:  L_dis = -log(1 - D(x)) - log D(x_GT), x the generator's image, detached   (eq. 11)

One step of each per batch. In the phases `recon` and `psnr` the discriminator rests, so that it
begins with images close to true ones. What surrounds a step is in `run.py`.

Unlike the supervised loop a step is not within `Run.not_waiting`: the discriminator takes its step
only where the gradient of the generator is finite, and this value waits for a GPU anyhow. So the
fixed points may end their iteration early.
"""

from collections.abc import Callable

import torch
from torch import nn

from training.config import RunConfig
from training.errors import UsageError
from training.losses.objective import (
    adversarial_terms,
    magnitudes,
    reconstruction_terms,
)
from training.losses.pixel import discriminator_loss

from .budget import Stopwatch
from .log import Row
from .run import Run


def fit(
    config: RunConfig,
    on_row: Callable[[Row], None] | None = None,
    watch: Stopwatch | None = None,
) -> nn.Module:
    """Train to the last step or the deadline; see `supervised.fit`."""
    with Run(config, on_row, watch) as run:
        adversary = run.networks.discriminator
        if adversary is None:
            raise UsageError(f"loop is {config.loop}, the adversarial loop needs a discriminator")
        discriminator = adversary.network
        with run.budget.watched():
            for names, scan in run.batches():
                # Generator.
                adversarial = run.phase.name == "full"
                output, truth = run.predict(names, scan)
                with run.fabric.autocast():
                    terms = reconstruction_terms(output, truth, config.loss, run.phase.name)
                    if adversarial:
                        discriminator.requires_grad_(False)
                        pair = magnitudes(output, truth)
                        terms |= run.detail_terms(names, pair, truth)
                        terms |= adversarial_terms(discriminator, pair, config.loss)
                loss = torch.stack(list(terms.values())).sum()
                finite = run.update(loss, run.networks.generator)

                # Discriminator, on the same images.
                if adversarial and finite:
                    discriminator.requires_grad_(True)
                    with run.fabric.autocast():
                        shown = pair.without_flat(config.loss.discriminator.flat_threshold)
                        fake, _ = discriminator(shown.image.detach(), shown.zero_filled)
                        real, _ = discriminator(shown.target, shown.zero_filled)
                    loss = discriminator_loss(fake, real, config.loss.discriminator.gan)
                    run.update(loss, adversary)
                    terms["discriminator"] = loss
                run.finish_step(terms, output, finite)
        return run.finish()
