"""A training run as one frozen dataclass; recipes are YAML files that become one.

A recipe may name a `base` recipe beside it and then holds only where it differs. Unknown keys are
refused with the nearest known one. Every key can be given on the command line as key=value.
"""

import difflib
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from jrsr_core.models.fixed_point import BACKWARDS
from jrsr_core.models.names import PRESETS
from jrsr_core.models.rec import DATA_STEPS
from jrsr_core.simulation.protocols import PROTOCOLS

CONFIG = "config.json"
"""The settings of a run, in its folder."""

SOURCES = ("init", "grow_from", "recon_from")
"""Keys that name weights a run starts from; the card tells their hashes instead."""

MAX_BASES = 5
CHOICES = {
    "loop": ("supervised", "adversarial", "tune"),
    "preset": PRESETS,
    "protocol": tuple(PROTOCOLS),
    "truth_maps": ("acs", "full"),
    "schedule": ("halving", "cosine", "constant"),
    "perceptual": ("none", "vgg19", "alexnet", "squeezenet", "vgg19-random", "gradient"),
    "perceptual_fallback": ("none", "vgg19-random", "gradient"),
    "perceptual_distance": ("l1", "l2"),
    "discriminator": ("vgg19", "esrgan", "medsrgan"),
    "discriminator_norm": ("batch", "group", "spectral", "none"),
    "gan": ("vanilla", "relativistic"),
    "backward": BACKWARDS,
    "data_step": ("", *DATA_STEPS),
    "precision": ("32", "bf16-mixed"),
}


@dataclass(frozen=True)
class RunConfig:
    """One training run; every field stands in the log and in the weights card.

    Steps are counted from 0; a share is a fraction of `steps`. Zero turns a part off.
    """

    # What is trained, on what, where to.
    model: str
    preset: str
    data: str
    out: str
    steps: int
    protocol: str = "brain-5x"
    loop: str = "supervised"
    device: str = "auto"
    seed: int = 0
    init: str = ""  # weights card or run folder to start from
    grow_from: str = ""  # the same of a smaller preset; the new channels and blocks begin silent
    data_step: str = ""  # of Rec: gradient, as published, or implicit; empty: that of the preset

    # Data made on the fly from images or k-space; a prepared folder has its own.
    truth_maps: str = "full"
    hr_limit: int = 0  # longest side of the HR image, larger ones lose resolution; 0: by preset
    n_coils: int = 0  # simulated coils; 0: by preset
    workers: int = 0  # processes that load and simulate

    # Optimisation.
    batch: int = 4
    learning_rate: float = 1e-4
    schedule: str = "halving"
    warmup_steps: int = 0
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_eps: float = 1e-8
    clip_norm: float = 1.0
    ema: float = 0.999
    sequential: float = 0.0  # share of the run that trains the reconstruction alone
    recon_from: str = ""  # weights card or run folder whose reconstruction is taken, and frozen
    psnr_share: float = 0.0  # share of the run without perceptual and adversarial losses
    bad_steps: int = 3  # steps in a row without a finite gradient that end the run

    # Losses, and their weights.
    gamma_pix: float = 1.0
    gamma_rec: float = 1.0
    gamma_per: float = 0.0
    gamma_adv: float = 0.0
    gamma_feature: float = 0.0
    gamma_buddy: float = 0.0
    gamma_back: float = 0.0
    perceptual: str = "none"
    perceptual_layers: dict = field(default_factory=dict)  # layer: weight; empty: the deepest one
    perceptual_distance: str = "l1"
    perceptual_fallback: str = "none"
    trunk: str = ""  # local file with the weights of the perceptual network
    trunk_sha256: str = ""  # empty: the published hash
    discriminator: str = "vgg19"
    discriminator_width: int = 0  # 0: that of the preset
    discriminator_norm: str = "batch"
    gan: str = "vanilla"
    flat_threshold: float = 0.0  # local std below which the discriminator sees nothing
    buddy_crop: int = 128

    # The fixed point while training.
    backward: str = "jfb"
    backward_terms: int = 5
    max_iterations: int = 30
    warm_start: bool = False
    first_iterations: int = 12
    later_iterations: int = 5
    residual_alarm: float = 0.05
    patch: int = 0  # LR pixels; 0: whole images
    patch_margin: int = 8

    # Machine, log, checkpoints.
    precision: str = "32"
    compile: str = ""  # backend of torch.compile for the networks
    devices: int = 1
    nodes: int = 1
    n_threads: int = 0
    log_every: int = 50
    validate_every: int = 0
    validation_slices: int = 16
    tensorboard: bool = True
    checkpoint_minutes: float = 5.0

    def __post_init__(self) -> None:
        """Refuse what could not run."""
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise ValueError(f"{name} is {value!r}, known: {', '.join(choices)}")
        for name in ("steps", "batch", "devices", "nodes", "log_every", "bad_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, at least 1 is needed")
        for name in ("sequential", "psnr_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, a share is from 0 to 1")
        if self.batch % (self.devices * self.nodes):
            raise ValueError(
                f"batch is {self.batch}, not a multiple of {self.devices * self.nodes} processes"
            )
        if self.init and self.grow_from:
            raise ValueError(
                f"init is {self.init}, grow_from {self.grow_from}: one start is enough"
            )
        if self.recon_from and not 0 < self.sequential < 1:
            raise ValueError("recon_from is for recipes with a sequential share between 0 and 1")
        if self.patch and self.patch <= 2 * self.patch_margin:
            raise ValueError(f"patch is {self.patch}, its margins alone take {self.patch_margin}")
        if self.patch and self.backward != "jfb":
            raise ValueError(f"patch needs backward jfb, got {self.backward}")
        if self.loop == "adversarial" and not self.gamma_adv:
            raise ValueError("loop is adversarial, but gamma_adv is 0")


def _read(path: Path, depth: int = 0) -> dict[str, Any]:
    """Return the mapping of a recipe with those of its bases under it."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path.name}: not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path.name}: a recipe is a mapping, got {type(values).__name__}")
    base = values.pop("base", None)
    _check_keys(path.name, values)
    if base is None:
        return values
    if depth == MAX_BASES:
        raise ValueError(f"{path.name}: more than {MAX_BASES} bases in a row")
    return _read(path.parent / str(base), depth + 1) | values


def _check_keys(where: str, values: dict[str, Any]) -> None:
    known = [f.name for f in fields(RunConfig)]
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1, 0.0)[0]
            raise ValueError(f"{where}: unknown key {key!r}, nearest: {near}")


def _coerce(where: str, name: str, value: Any, wanted: type) -> Any:
    """Return a value of the wanted type; integers are floats, and so is text like 1e-4."""
    if wanted is float and isinstance(value, (int, str)) and not isinstance(value, bool):
        try:
            return float(value)
        except ValueError:
            pass
    if name == "precision" and isinstance(value, int):
        return str(value)
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        got = type(value).__name__
        raise ValueError(f"{where}: {name} is {got}, expected {wanted.__name__}")
    return value


def parse_overrides(pairs: list[str]) -> dict[str, Any]:
    """Turn "key=value" texts into a mapping; values are YAML.

    Raises
    ------
    ValueError
        No "=", or an unknown key.
    """
    values = {}
    for pair in pairs:
        key, sign, text = pair.partition("=")
        if not sign:
            raise ValueError(f"{pair!r} is not key=value")
        _check_keys("command line", {key: text})
        try:
            values[key] = yaml.safe_load(text) if text else ""
        except yaml.YAMLError:
            values[key] = text
    return values


def load_recipe(path: Path, overrides: list[str] | None = None) -> RunConfig:
    """Read a recipe and its bases; `overrides` are "key=value" texts that win over both.

    Raises
    ------
    ValueError
        Not a mapping, an unknown key (the nearest known one is named), a missing key, a value of
        the wrong type or not among the known ones.
    """
    path = Path(path)
    values = {"out": f"runs/{path.stem}"} | _read(path) | parse_overrides(overrides or [])
    known = {f.name: f for f in fields(RunConfig)}
    for name, f in known.items():
        if name in values:
            values[name] = _coerce(path.name, name, values[name], f.type)
        elif f.default is MISSING and f.default_factory is MISSING:
            raise ValueError(f"{path.name}: key {name!r} is missing (give {name}=...)")
    try:
        return RunConfig(**values)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error
