"""The parts of a system: reconstruction and upsampling, and which modules are pure networks."""

from torch import nn

from jrsr_core.models.interfaces import UpsampleModel
from jrsr_core.models.rec import ProximalNetwork
from jrsr_core.models.sr import SrModule
from training.config import RunConfig

NAMES = (("recon", "upsample"), ("rec", "sr"))
NETWORKS = (ProximalNetwork, SrModule, UpsampleModel)


def split_parts(model: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Return the reconstruction and the upsampling of a model that has both.

    Raises
    ------
    ValueError
        It has no such parts.
    """
    for recon, upsample in NAMES:
        if getattr(model, recon, None) is not None and getattr(model, upsample, None) is not None:
            return getattr(model, recon), getattr(model, upsample)
    raise ValueError(
        f"{type(model).__name__} has no reconstruction and upsampling to train in turn"
    )


def learns_reconstruction(model: nn.Module, config: RunConfig) -> bool:
    """Whether the LR reconstruction of a model is trained to the last step."""
    recon = getattr(model, "recon", getattr(model, "rec", model))
    trained = recon is not None and any(p.requires_grad for p in recon.parameters())
    return trained and not config.sequential


def select_trainable(model: nn.Module, phase: str) -> None:
    """Train the reconstruction alone in the phase `recon`, all but it afterwards.

    What is not trained is in evaluation mode, so that its running statistics stay as they are.
    """
    recon, _ = split_parts(model)
    frozen = {id(p) for p in recon.parameters()}
    training_recon = phase == "recon"
    for parameter in model.parameters():
        parameter.requires_grad_((id(parameter) in frozen) == training_recon)
    model.train()
    recon.train(training_recon)


def compile_networks(model: nn.Module, discriminator: nn.Module | None, backend: str) -> None:
    """Compile the networks in place; FFT and solvers stay as they are."""
    for module in model.modules():
        if isinstance(module, NETWORKS):
            module.compile(backend=backend)
    if discriminator is not None:
        discriminator.compile(backend=backend)
