"""Phase and learning rate of a step, functions of its number alone.

A run has up to three phases, in this order:

    recon   the reconstruction alone (share `phases.recon`); it is frozen afterwards. With
            `start.recon_from` it is frozen from the start, and the phase has no step
    psnr    pixel and reconstruction losses only (share `phases.psnr` of the rest)
    full    all losses of the recipe

"halving" halves the rate after 1/8, 1/4, 1/2 and 3/4 of the steps: the paper's 50k, 100k, 200k and
300k of 400k (section 3.5). "cosine" falls along half a cosine to 2 %. A run with a `recon` phase
starts its schedule anew after it, since another network begins.
"""

import math
from dataclasses import dataclass

from training.config import RunConfig

MILESTONES = (1 / 8, 1 / 4, 1 / 2, 3 / 4)
COSINE_FLOOR = 0.02


@dataclass(frozen=True)
class Phase:
    """Name, and the steps [first, last) over which the learning rate runs."""

    name: str
    first: int
    last: int


def phase_at(step: int, config: RunConfig) -> Phase:
    """Return the phase of a step."""
    n_recon = 0 if config.start.recon_from else round(config.phases.recon * config.steps)
    if step < n_recon:
        return Phase("recon", 0, n_recon)
    n_psnr = round(config.phases.psnr * (config.steps - n_recon))
    name = "psnr" if step < n_recon + n_psnr else "full"
    return Phase(name, n_recon, config.steps)


def learning_rate(step: int, config: RunConfig) -> float:
    """Return the learning rate of a step."""
    phase, adam = phase_at(step, config), config.optimizer
    step, n_steps = step - phase.first, phase.last - phase.first
    if step < adam.warmup_steps:
        return adam.learning_rate * (step + 1) / adam.warmup_steps
    if adam.schedule == "halving":
        return adam.learning_rate * 0.5 ** sum(step >= m * n_steps for m in MILESTONES)
    if adam.schedule == "cosine":
        done = (step - adam.warmup_steps) / max(n_steps - adam.warmup_steps, 1)
        cosine = 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
        return adam.learning_rate * (COSINE_FLOOR + (1 - COSINE_FLOOR) * cosine)
    return adam.learning_rate
