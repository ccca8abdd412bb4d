"""The settings of a training run as nested, frozen groups that are checked when they are made.

A share is a fraction from 0 to 1. A weight, a size or a number of steps that is 0 turns its part
off, unless the key says otherwise.
"""

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from jrsr_core.models.fixed_point import BACKWARDS
from jrsr_core.models.names import PRESETS
from jrsr_core.models.rec import DATA_STEPS
from jrsr_core.simulation.protocols import PROTOCOLS


def _one_of(known: Iterable[str]) -> AfterValidator:
    names = tuple(known)

    def check(value: str) -> str:
        if value not in names:
            raise ValueError(f"is {value!r}, known: {', '.join(names)}")
        return value

    return AfterValidator(check)


def _number(value: object) -> object:
    """Return the number of a text: YAML 1.1 reads 1e-4, without a point, as text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


Count = Annotated[int, Field(ge=1)]
Size = Annotated[int, Field(ge=0)]
NotNegative = Annotated[float, BeforeValidator(_number), Field(ge=0)]
Positive = Annotated[float, BeforeValidator(_number), Field(gt=0)]
Share = Annotated[float, BeforeValidator(_number), Field(ge=0, le=1)]
Decay = Annotated[float, BeforeValidator(_number), Field(ge=0, lt=1)]
DiscriminatorName = Literal["vgg19", "esrgan", "medsrgan"]
DiscriminatorNorm = Literal["batch", "group", "spectral", "none"]


class Group(BaseModel):
    """Settings that belong together; unknown keys and values of another type are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Start(Group):
    """Weights that a run starts from: NAME, NAME@SET, a weights card, or the folder of a run."""

    init: str = ""  # the whole network
    grow_from: str = ""  # a smaller preset; the new channels and blocks begin without effect
    recon_from: str = ""  # the reconstruction of a sequence, which is then frozen


class Scans(Group):
    """How scans are made from images or k-space while training; a prepared folder has its own."""

    truth_maps: Literal["acs", "full"] = "full"
    hr_limit: Size = 0  # longest side of the HR image [pixel]; 0: not limited
    n_coils: Size = 0  # simulated coils; 0: those of the protocol
    vary: bool = False  # varied scans of a few shapes, made while training: `data.loading.fresh`
    variety: Literal["brain", "wide"] = "brain"  # ranges of `vary`; see `data.variety.ranges`
    objects: dict[str, Share] = {}  # shares of made objects with `vary`; empty: of the ranges
    max_visits: Count = 8  # with `vary`, visits of a scan before a fresh one is waited for


class Phases(Group):
    """Shares of the first two of the three phases of a run; see `runs.schedule`."""

    recon: Share = 0.0  # of all steps: the reconstruction alone
    psnr: Share = 0.0  # of the rest: without perceptual and adversarial losses


class Optimizer(Group):
    """Adam, its learning rate, and the moving average of the weights."""

    batch: Count = 4  # scans per step, of all processes together
    learning_rate: Positive = 1e-4
    schedule: Literal["halving", "cosine", "constant"] = "halving"
    warmup_steps: Size = 0  # with `minutes` at most a tenth of the time
    beta1: Decay = 0.9
    beta2: Decay = 0.999
    eps: Positive = 1e-8
    # Decay of the average per step, at most that of `schedule.average_decay`: with 1 the average
    # is over about the last tenth of the steps, so 1 is a sound value, unlike that of a moment.
    ema: Share = 0.999


class Perceptual(Group):
    """The network whose features the perceptual loss compares."""

    network: Literal["none", "vgg19", "vgg16", "squeezenet", "gradient"] = "none"
    layers: dict[str, NotNegative] = {}  # weight of each layer; empty: the deepest one
    distance: Literal["l1", "l2", "cosine"] = "l1"
    fallback: Literal["none", "gradient"] = "none"  # where there is no file
    file: str = ""  # local file with the weights of the network
    sha256: str = ""  # of the file; empty: the published one


class Discriminator(Group):
    """The discriminator of the adversarial loop."""

    network: DiscriminatorName = "vgg19"
    width: Size = 0  # channels of its first layer; 0: those of the preset
    norm: DiscriminatorNorm = "batch"
    gan: Literal["vanilla", "relativistic"] = "vanilla"
    flat_threshold: NotNegative = 0.0  # regions with a smaller local std are hidden from it


class Loss(Group):
    """Weights of the losses of the generator; see `losses.objective`."""

    pix: NotNegative = 1.0
    rec: NotNegative = 1.0
    per: NotNegative = 0.0
    adv: NotNegative = 0.0
    feature: NotNegative = 0.0
    buddy: NotNegative = 0.0
    back: NotNegative = 0.0
    perceptual: Perceptual = Perceptual()
    discriminator: Discriminator = Discriminator()


class FixedPoint(Group):
    """The fixed point of Rec: its iteration, its gradient, how it is sought while training."""

    data_step: Annotated[str, _one_of(("", *DATA_STEPS))] = ""  # empty: that of the preset
    backward: Annotated[str, _one_of(BACKWARDS)] = "jfb"
    max_iterations: Count = 30
    warm_start: bool = False  # keep the fixed point of every scan for its next visit
    first_iterations: Count = 12  # with `warm_start`, at the first visit
    later_iterations: Count = 5  # with `warm_start`, at every later one
    residual_alarm: Positive = 0.05


class Patch(Group):
    """Gradients on a patch of the image instead of the whole; see `runs.networks.patches`."""

    size: Size = 0  # LR pixels; 0: whole images
    margin: Size = 8  # LR pixels at each border that the loss leaves out


class Machine(Group):
    """How a run uses its machines."""

    precision: Annotated[
        Literal["32", "bf16-mixed"], BeforeValidator(lambda v: str(v) if v == 32 else v)
    ] = "32"
    compile: str = ""  # backend of torch.compile for the networks; empty: not compiled
    devices: Count = 1  # processes per node
    nodes: Count = 1
    n_threads: Size = 0  # of PyTorch on the CPU; 0: its own choice
    workers: Size = 0  # processes that load and simulate scans; 0: the training process itself


class Log(Group):
    """When a run logs, validates and saves."""

    every: Count = 50  # steps
    validate_every: Size = 0  # steps
    validate_minutes: NotNegative = 0.0  # beside `validate_every`; 0: not by time
    final_minutes: NotNegative = 0.5  # of `minutes`, for validation and export; a tenth at most
    validation_slices: Size = 16
    tensorboard: bool = True
    checkpoint_minutes: NotNegative = 5.0  # 0: after every step


class RunConfig(Group):
    """One training run: what is trained, on what, for how many steps or minutes, and how."""

    model: str
    preset: Annotated[str, _one_of(PRESETS)]
    refinement: bool = False  # of jrsr-dc: a second pass, which alone is trained
    refinement_blocks: Size = 0  # of SR in that pass; 0: as many as in the first one
    data: str
    out: str
    steps: Size = 0
    minutes: NotNegative = 0.0  # of the whole command, in place of `steps`; 0: by `steps`
    protocol: Annotated[str, _one_of(PROTOCOLS)] = "brain-5x"
    loop: Literal["supervised", "adversarial", "tune"] = "supervised"
    device: str = "auto"
    seed: int = 0
    start: Start = Start()
    scans: Scans = Scans()
    phases: Phases = Phases()
    optimizer: Optimizer = Optimizer()
    loss: Loss = Loss()
    fixed_point: FixedPoint = FixedPoint()
    patch: Patch = Patch()
    machine: Machine = Machine()
    log: Log = Log()

    @property
    def n_processes(self) -> int:
        """Number of training processes, on all nodes."""
        return self.machine.devices * self.machine.nodes

    @model_validator(mode="after")
    def _check_loss(self) -> "RunConfig":
        """Refuse losses that would not be computed."""
        loss, perceptual = self.loss, self.loss.perceptual
        if perceptual.network == "none" and (loss.per or perceptual.file):
            given = f"per is {loss.per:g}" if loss.per else f"perceptual.file is {perceptual.file}"
            raise ValueError(f"loss.{given}, but loss.perceptual.network is none: name a network")
        if self.loop == "adversarial" and not loss.adv:
            raise ValueError("loop is adversarial, but loss.adv is 0")
        for name in ("adv", "feature"):
            if (weight := getattr(loss, name)) and self.loop != "adversarial":
                raise ValueError(
                    f"loss.{name} is {weight:g}, but loop is {self.loop}, not adversarial"
                )
        if loss.feature and loss.discriminator.network != "medsrgan":
            raise ValueError(
                f"loss.feature is {loss.feature:g}, but loss.discriminator.network is "
                f"{loss.discriminator.network}: only medsrgan has features to compare"
            )
        return self

    @model_validator(mode="after")
    def _check_together(self) -> "RunConfig":
        """Refuse settings that contradict each other."""
        start, patch = self.start, self.patch
        if not self.steps and not self.minutes:
            raise ValueError("steps is 0, give steps=NUMBER or minutes=NUMBER")
        if self.refinement and not (start.init or start.grow_from):
            raise ValueError(
                "refinement is true, but its first pass is not trained: "
                "give start.grow_from=CARD of jrsr-dc"
            )
        if self.refinement_blocks and not self.refinement:
            raise ValueError(
                f"refinement_blocks is {self.refinement_blocks}, but refinement is false: give "
                "refinement=true"
            )
        if self.refinement and self.phases.recon:
            raise ValueError(
                f"phases.recon is {self.phases.recon:g}, but a refinement has one phase: give "
                "phases.recon=0"
            )
        if self.optimizer.batch % self.n_processes:
            raise ValueError(
                f"optimizer.batch is {self.optimizer.batch}, not a multiple of "
                f"{self.n_processes} processes (machine.devices times machine.nodes)"
            )
        scans = self.scans
        if not scans.vary and (scans.variety != "brain" or scans.objects):
            raise ValueError("scans.variety and scans.objects need scans.vary=true")
        if scans.vary and scans.n_coils:
            raise ValueError(
                f"scans.n_coils is {scans.n_coils}, but scans.vary draws the number of coils"
            )
        if start.init and start.grow_from:
            raise ValueError(
                f"start.init is {start.init} and start.grow_from {start.grow_from}, give only one"
            )
        if start.recon_from and not 0 < self.phases.recon < 1:
            raise ValueError(
                f"start.recon_from needs phases.recon between 0 and 1, got {self.phases.recon:g}"
            )
        if patch.size and patch.size <= 2 * patch.margin:
            raise ValueError(
                f"patch.size is {patch.size}, its two margins alone take {2 * patch.margin}"
            )
        if patch.size and self.fixed_point.backward != "jfb":
            raise ValueError(
                f"patch.size needs fixed_point.backward jfb, got {self.fixed_point.backward}"
            )
        return self
