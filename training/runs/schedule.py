"""Phase and learning rate: of a step by its number, or of a run by `minutes` by its time.

A run has up to three phases, in this order:

    recon   the reconstruction alone (share `phases.recon`); it is frozen afterwards. With
            `start.recon_from` it is frozen from the start, and the phase has no step
    psnr    pixel and reconstruction losses only (share `phases.psnr` of the rest)
    full    all losses of the recipe

"halving" halves the rate after 1/8, 1/4, 1/2 and 3/4 of the steps: the paper's 50k, 100k, 200k and
300k of 400k (section 3.5). "cosine" falls along half a cosine to 2 %. A run with a `recon` phase
starts its schedule anew after it, since another network begins.

By time the same shares are of the seconds of training, and whatever the throughput the rate ends at
zero: "cosine" falls to zero, the other schedules fall linearly over the last tenth of a phase. The
warm-up ends after `optimizer.warmup_steps` or a tenth of the phase, whichever comes first, and a
run from other weights has one of `START_WARMUP` steps at least. The moving average forgets what is
older than a twentieth of the time, or sooner with a smaller `optimizer.ema`.
"""

import math
from dataclasses import dataclass

from training.config import RunConfig

MILESTONES = (1 / 8, 1 / 4, 1 / 2, 3 / 4)
COSINE_FLOOR = 0.02
START_WARMUP = 20
WARMUP_SHARE = COOLDOWN_SHARE = 0.1
AVERAGE_SHARE = 0.05


@dataclass(frozen=True)
class Phase:
    """Name, and the steps, or shares of the time, [first, last) of the learning rate."""

    name: str
    first: float
    last: float


def last_phase(config: RunConfig) -> str:
    """Return the name of the phase that a run ends in."""
    at_end = timed_phase(1.0, config) if config.minutes else phase_at(config.steps - 1, config)
    return at_end.name


def timed_phase(share: float, config: RunConfig) -> Phase:
    """Return the phase of a run of which a share of the time is over."""
    recon = 0.0 if config.start.recon_from else config.phases.recon
    if share < recon or recon == 1:
        return Phase("recon", 0.0, recon)
    psnr = recon + config.phases.psnr * (1 - recon)
    return Phase("psnr" if share < psnr or psnr == 1 else "full", recon, 1.0)


def timed_rate(share: float, step: int, config: RunConfig) -> float:
    """Return the learning rate where a share of the time is over and step `step` begins."""
    phase, adam = timed_phase(share, config), config.optimizer
    done = min((share - phase.first) / (phase.last - phase.first), 1.0)
    n_warm = adam.warmup_steps
    if phase.first == 0 and (config.start.init or config.start.grow_from):
        n_warm = max(n_warm, START_WARMUP)
    factor = 1.0
    if n_warm:
        by_steps = (step + 1) / n_warm if phase.first == 0 else 0.0
        factor = min(1.0, max(by_steps, done / WARMUP_SHARE))
    if adam.schedule == "cosine":
        return adam.learning_rate * factor * 0.5 * (1 + math.cos(math.pi * done))
    factor *= min(1.0, (1 - done) / COOLDOWN_SHARE)
    if adam.schedule == "halving":
        factor *= 0.5 ** sum(done >= m for m in MILESTONES)
    return adam.learning_rate * factor


def average_decay(step: int, config: RunConfig, step_share: float = 0.0) -> float:
    """Return the decay of the moving average; an average of few steps weighs its start less.

    `step_share` is the share of the time that the step took, 0 in a run by steps.
    """
    decay = min(config.optimizer.ema, (1 + step) / (10 + step))
    return min(decay, math.exp(-step_share / AVERAGE_SHARE)) if step_share else decay


def phase_at(step: int, config: RunConfig) -> Phase:
    """Return the phase of a step in a run by steps."""
    n_recon = 0 if config.start.recon_from else round(config.phases.recon * config.steps)
    if step < n_recon:
        return Phase("recon", 0, n_recon)
    n_psnr = round(config.phases.psnr * (config.steps - n_recon))
    name = "psnr" if step < n_recon + n_psnr else "full"
    return Phase(name, n_recon, config.steps)


def learning_rate(step: int, config: RunConfig) -> float:
    """Return the learning rate of a step in a run by steps."""
    phase, adam = phase_at(step, config), config.optimizer
    own, n_steps = step - phase.first, phase.last - phase.first
    if own < adam.warmup_steps:
        return adam.learning_rate * (own + 1) / adam.warmup_steps
    if adam.schedule == "halving":
        return adam.learning_rate * 0.5 ** sum(own >= m * n_steps for m in MILESTONES)
    if adam.schedule == "cosine":
        done = (own - adam.warmup_steps) / max(n_steps - adam.warmup_steps, 1)
        cosine = 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
        return adam.learning_rate * (COSINE_FLOOR + (1 - COSINE_FLOOR) * cosine)
    return adam.learning_rate
