"""How a network may differ from its preset, so that its tensors or their meaning change."""

from dataclasses import dataclass, replace

from torch import nn

from .ablations import AblationConfig
from .jrsr import JrsrConfig, JrsrDc, JrsrDcConfig
from .presets import Config
from .rec import data_step_of


@dataclass(frozen=True)
class Variant:
    """How a network differs from its preset.

    Attributes
    ----------
    data_step
        Data step of Rec, "gradient" or "implicit"; that of the preset where None.
    refinement
        Whether `jrsr-dc` does both tasks a second time.
    refinement_blocks
        Number of RRDBs in SR of that second pass; as in the first one where 0.
    """

    data_step: str | None = None
    refinement: bool = False
    refinement_blocks: int = 0

    def of(self, config: Config) -> Config:
        """Return the sizes of this variant; those without a Rec or a second pass stay."""
        if self.refinement and isinstance(config, JrsrDcConfig):
            config = replace(config, refinement=True, refinement_blocks=self.refinement_blocks)
        if self.data_step and isinstance(config, JrsrConfig | AblationConfig) and config.rec:
            config = replace(config, rec=replace(config.rec, data_step=self.data_step))
        return config


PRESET = Variant()


def variant_of(model: nn.Module) -> Variant:
    """Return the variant that a model is of."""
    data_step = data_step_of(model)
    for module in model.modules():
        if isinstance(module, JrsrDc) and module.refinement is not None:
            first, second = len(module.sr.trunk), len(module.refinement.sr.trunk)
            return Variant(data_step, True, 0 if second == first else second)
    return Variant(data_step)
