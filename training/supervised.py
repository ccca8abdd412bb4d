"""The supervised loop, read from top to bottom: one generator, losses against the truth.

    loss = g_pix mean |x - x_GT| + g_rec mean |x_rec - x_GT,LR| [+ perceptual, best-buddy, ...]

What a step needs around it (data, checkpoints, log) is in `run.py`.
"""

from collections.abc import Callable

import torch
from torch import nn

from .config import RunConfig
from .objective import detail_terms, magnitudes, reconstruction_terms
from .run import Run


def fit(config: RunConfig, tell: Callable[[dict], None] | None = None) -> nn.Module:
    """Train to the last step and return the averaged generator; `tell` hears every row of the log.

    Raises
    ------
    ValueError
        What the recipe, the data or a checkpoint have wrong, in one line.
    TrainingDiverged
        Gradients stayed without a finite value.
    """
    run = Run(config, tell)
    nets = run.networks
    for names, scan in run.batches():
        output, truth = run.predict(names, scan)
        with run.fabric.autocast():
            terms = reconstruction_terms(output, truth, config, run.phase.name)
            if run.phase.name == "full":
                pair = magnitudes(output, truth)
                terms |= detail_terms(pair, truth, config, run.perceptual, run.generator)
        loss = torch.stack(list(terms.values())).sum()
        finite = run.update(loss, nets.model, nets.optimizer)
        run.finish_step(terms, output, finite)
    return run.close()
