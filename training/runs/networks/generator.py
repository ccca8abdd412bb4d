"""The generator of a run: its parts, which of them a phase trains, and how a batch is run."""

from torch import Generator, Tensor, nn

from jrsr_core.models.interfaces import JointModel, ModelOutput, ReconModel, UpsampleModel
from jrsr_core.models.rec import ProximalNetwork
from jrsr_core.models.sr import SrModule
from training.config import RunConfig
from training.data.scans import TrainingScan
from training.errors import UsageError

from .patches import patch_output

NETWORKS = (ProximalNetwork, SrModule, UpsampleModel)
"""Modules without FFT and solvers, which torch.compile takes."""


def split_parts(model: JointModel, name: str) -> tuple[nn.Module, nn.Module]:
    """Return the reconstruction and the upsampling of a model that has both; `name` is its name.

    Raises
    ------
    UsageError
        It has no such parts.
    """
    recon, upsample = model.parts()
    if recon is None or upsample is None:
        raise UsageError(f"{name} has no reconstruction and upsampling to train in turn")
    return recon, upsample


def learns_reconstruction(model: JointModel, config: RunConfig) -> bool:
    """Return whether the LR reconstruction of a model is trained to the last step."""
    recon, _ = model.parts()
    trained = recon is not None and any(p.requires_grad for p in recon.parameters())
    return trained and not config.phases.recon


def select_trainable(model: JointModel, config: RunConfig, phase: str) -> None:
    """Train the reconstruction alone in the phase `recon`, everything else afterwards.

    What is not trained is in evaluation mode, so that its running statistics stay as they are.
    """
    recon, _ = split_parts(model, config.model)
    of_recon = {id(p) for p in recon.parameters()}
    for parameter in model.parameters():
        parameter.requires_grad_((id(parameter) in of_recon) == (phase == "recon"))
    model.train()
    recon.train(phase == "recon")


def compile_networks(model: nn.Module, discriminator: nn.Module | None, backend: str) -> None:
    """Compile the networks in place; FFT and solvers stay as they are."""
    for module in model.modules():
        if isinstance(module, NETWORKS):
            module.compile(backend=backend)
    if discriminator is not None:
        discriminator.compile(backend=backend)


def run_generator(
    model: JointModel,
    scan: TrainingScan,
    config: RunConfig,
    phase: str,
    rng: Generator,
    x0: Tensor | None,
) -> tuple[ModelOutput, TrainingScan, Tensor]:
    """Run the generator on a batch.

    Parameters
    ----------
    phase
        In the phase `recon` a sequence runs its reconstruction alone.
    rng
        Draws the patch.
    x0
        Start of the fixed point; zero-filled where None.

    Returns
    -------
    The output of the model; the scan with the truth that goes with it, which is a patch with
    `patch.size`; and the fixed points of the whole images, complex ``(batch, y, x)``.
    """
    if config.patch.size:
        return patch_output(model, scan, config.patch, rng, x0=x0)
    recon, _ = model.parts()
    if phase == "recon" and isinstance(recon, ReconModel):
        image = recon(scan.kspace, scan.sense.at_low_resolution(), scan.noise_std)
        return ModelOutput(image, image), scan, image
    start = {} if x0 is None else {"x0": x0}
    output = model(scan.kspace, scan.sense, scan.noise_std, **start)
    return output, scan, model.fixed_points(output)
