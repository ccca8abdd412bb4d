"""What a step is: its phase and its learning rate, functions of the step number alone.

A run has up to three phases, in this order:

    recon   the reconstruction alone (share `sequential`, none with `recon_from`); frozen afterwards
    psnr    pixel and reconstruction losses only (share `psnr_share` of the rest)
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
    """Name, and the steps [first, last) over which its learning rate runs."""

    name: str
    first: int
    last: int


def phase_at(step: int, config: RunConfig) -> Phase:
    """Return the phase of a step."""
    n_recon = 0 if config.recon_from else round(config.sequential * config.steps)
    if step < n_recon:
        return Phase("recon", 0, n_recon)
    n_psnr = round(config.psnr_share * (config.steps - n_recon))
    name = "psnr" if step < n_recon + n_psnr else "full"
    return Phase(name, n_recon, config.steps)


def learning_rate(step: int, config: RunConfig) -> float:
    """Return the learning rate of a step."""
    phase = phase_at(step, config)
    step, n_steps = step - phase.first, phase.last - phase.first
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    if config.schedule == "halving":
        return config.learning_rate * 0.5 ** sum(step >= m * n_steps for m in MILESTONES)
    if config.schedule == "cosine":
        done = (step - config.warmup_steps) / max(n_steps - config.warmup_steps, 1)
        cosine = 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
        return config.learning_rate * (COSINE_FLOOR + (1 - COSINE_FLOOR) * cosine)
    return config.learning_rate
