"""The sizes of every trainable system and part: paper, compact (a laptop CPU), tiny (tests)."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TypeVar

from .ablations import AblationConfig
from .bebygan import BebyGanConfig
from .dl_espirit import DlEspiritConfig
from .jrsr import JrsrConfig, JrsrDcConfig
from .medsrgan import MedSrganConfig
from .modl import ModlConfig
from .names import PRESETS
from .rec import RecConfig
from .sr import SrConfig
from .t2net import T2NetConfig

Config = (
    JrsrConfig
    | AblationConfig
    | T2NetConfig
    | ModlConfig
    | DlEspiritConfig
    | MedSrganConfig
    | BebyGanConfig
)
C = TypeVar("C")

_rec = partial(RecConfig, data_step="implicit")

_JRSR = {
    "paper": JrsrConfig(_rec()),
    "compact": JrsrConfig(_rec(32, 16), SrConfig(32, 16, 4)),
    "tiny": JrsrConfig(_rec(8, 4), SrConfig(8, 4, 1)),
}


def _jrsr_dc(preset: str) -> JrsrDcConfig:
    """Condition maps in Rec and SR; zero-filled and x_rec (2 + 2) into SR, complex detail out."""
    rec = replace(_JRSR[preset].rec, n_conditions=2)
    sr = replace(_JRSR[preset].sr, n_in=6, n_out=2, residual_output=True)
    return JrsrDcConfig(rec, sr)


def _sr(preset: str) -> SrConfig:
    return replace(_JRSR[preset].sr, sft="none")


def _hr_rec(preset: str) -> RecConfig:
    """Rec on the HR grid; `compact` runs its blocks on half the matrix, that is on the LR one."""
    return replace(_JRSR[preset].rec, unshuffle=2 if preset == "compact" else 1)


def _series(preset: str, *, end_to_end: bool) -> AblationConfig:
    return AblationConfig(_JRSR[preset].rec, _sr(preset), end_to_end=end_to_end)


def _by_preset(make: Callable[[str], C]) -> dict[str, C]:
    return {preset: make(preset) for preset in PRESETS}


CONFIGS: dict[str, Mapping[str, Config]] = {
    "jrsr": _JRSR,
    "jrsr-dc": _by_preset(_jrsr_dc),
    "sr": _by_preset(lambda preset: AblationConfig(sr=_sr(preset))),
    "recon": _by_preset(lambda preset: AblationConfig(rec=_hr_rec(preset))),
    "recon-sr": _by_preset(lambda preset: _series(preset, end_to_end=False)),
    "recon+sr": _by_preset(lambda preset: _series(preset, end_to_end=True)),
    "recon+sr-sft": _by_preset(lambda preset: AblationConfig(_JRSR[preset].rec, _JRSR[preset].sr)),
    "t2net": {
        "paper": T2NetConfig(),
        "compact": T2NetConfig(32, 4),
        "tiny": T2NetConfig(8, 2),
    },
    "modl": {
        "paper": ModlConfig(),
        "compact": ModlConfig(32),
        "tiny": ModlConfig(8, 3, 3, 6),
    },
    "dl-espirit": {
        "paper": DlEspiritConfig(),
        "compact": DlEspiritConfig(32),
        "tiny": DlEspiritConfig(8, 1, 3),
    },
    "medsrgan": {
        "paper": MedSrganConfig(),
        "compact": MedSrganConfig(32, 4, 8),
        "tiny": MedSrganConfig(8, 2, 2),
    },
    "bebygan": {
        "paper": BebyGanConfig(),
        "compact": BebyGanConfig(32, 16, 4),
        "tiny": BebyGanConfig(8, 4, 1),
    },
}
