"""The weights card: a JSON file that states what a file of weights is and where it comes from."""

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    with_config,
)
from typing_extensions import TypedDict

from jrsr_core.common.atomic import write_bytes
from jrsr_core.common.validation import one_line, shortened

MAX_CARD_BYTES = 1 << 20
MAX_WEIGHTS_BYTES = 1 << 30
MAX_TEXT = 1000
INDEX_SUFFIX = ".safetensors.index.json"
"""Of a file that lists the shards of weights too large for one file."""


class CardError(ValueError):
    """A card or its weights that must not be used; the message is one line."""


def _one_line(text: str) -> str:
    if len(text) > MAX_TEXT or re.search(r"[\x00-\x1f\x7f-\x9f]", text):
        wanted = f"one line of at most {MAX_TEXT} characters, without control characters"
        raise ValueError(f"is {shortened(text)}, expected {wanted}")
    return text


def _ordered(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise ValueError(f"is {list(limits)}, expected the smaller number first")
    return limits


def _both_ends(value: Any) -> Any:
    """Return a range as a tuple; a figure that did not vary may be written as one number."""
    if isinstance(value, list):
        return tuple(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return (value, value) if is_number else value


def _figures(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Refuse what is neither a number nor an object of numbers."""
    for path, figure in _walk(value):
        if isinstance(figure, bool) or not isinstance(figure, int | float):
            raise ValueError(f"is not of numbers alone: {path} is {figure!r}")
    return value


def _walk(value: JsonValue, path: str = "") -> list[tuple[str, JsonValue]]:
    if not isinstance(value, dict):
        return [(path, value)]
    return [x for name, inner in value.items() for x in _walk(inner, f"{path}.{name}".strip("."))]


Line = Annotated[str, AfterValidator(_one_line)]
Whole = Annotated[tuple[int, int], BeforeValidator(_both_ends), AfterValidator(_ordered)]
Limits = Annotated[tuple[float, float], BeforeValidator(_both_ends), AfterValidator(_ordered)]


@with_config(ConfigDict(extra="forbid", allow_inf_nan=False))
class TrainingRange(TypedDict, total=False):
    """How the scans of the training were made: constants, and the ranges of what varied."""

    protocol: Line
    truth_maps: Line
    hr_limit: int
    n_maps: int
    n_coils: Whole
    noise_db: Limits
    acceleration: Limits
    n_acs: Whole
    pixel_zoom: Limits
    margin: Limits
    hr_size: Whole
    masks: list[tuple[Line, float]]
    protocol_share: float
    tissue_phase: float
    shapes: list[tuple[int, int]]
    coil_counts: list[int]
    objects: list[tuple[Line, float]]
    aspect: Limits
    tones: float
    partial_fourier: float
    folded: float
    noise_error: float
    by_octaves: bool


class WeightsCard(BaseModel):
    """One set of weights."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model: Line
    """Name that `build_model` takes."""
    preset: Line
    """Size that `build_model` takes."""
    file: Line
    """safetensors file beside the card, or the index of several."""
    sha256: Line = Field(pattern="^[0-9a-f]{64}$")
    """Hash of the file, or of all shards one after the other in the order of their names."""
    architecture: dict[str, JsonValue]
    """Every size of the network; compared with what `build_model` builds."""
    training: dict[str, JsonValue] = {}
    """Configuration of the run: recipe, steps, samples seen, seed, learning rate, seconds."""
    data: Line = ""
    """Description of the training data."""
    data_sha256: Line = Field("", pattern="^([0-9a-f]{64})?$")
    """Hash of the list of inputs."""
    commit: Line = ""
    """Commit of the code that trained it."""
    metrics: Annotated[dict[str, JsonValue], AfterValidator(_figures)] = {}
    """Per protocol and system, the figures of an evaluation."""
    licence: Line = "MIT"
    """Licence of the weights."""
    intended_use: Line = "Research only. Not a medical device."
    """What the weights may be used for."""
    range: TrainingRange = {}
    """Variety of the training scans: coils, noise, acceleration, matrix."""

    def __repr__(self) -> str:
        return f"WeightsCard({self.model}, {self.preset}, sha256 {self.sha256[:12]})"

    @classmethod
    def read(cls, path: Path) -> "WeightsCard":
        """Return the card in a JSON file.

        Raises
        ------
        CardError
            No JSON object of at most 1 MiB; a field that is unknown, missing or ill-typed; a file
            that does not lie beside the card.
        """
        if path.stat().st_size > MAX_CARD_BYTES:
            raise CardError(
                f"{path.name}: card has {path.stat().st_size} bytes, limit {MAX_CARD_BYTES}"
            )
        try:
            card = cls.model_validate_json(path.read_bytes(), strict=True)
        except ValidationError as error:
            raise CardError(f"{path.name}: {_reason(error)}") from None
        if Path(card.file).name != card.file:
            raise CardError(f"{path.name}: file {card.file!r} must lie beside the card")
        return card

    @property
    def own_metrics(self) -> dict[str, dict[str, float]]:
        """The figures of this system, by protocol."""
        found = {}
        for protocol, systems in self.metrics.items():
            own = systems.get(self.model) if isinstance(systems, dict) else None
            if isinstance(own, dict):
                found[protocol] = {k: v for k, v in own.items() if isinstance(v, int | float)}
        return found

    def content(self) -> bytes:
        """Return the content of the file of the card."""
        text = json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"
        return text.encode()

    def write(self, path: Path) -> None:
        """Write the card; an existing one is replaced when the new one is complete."""
        write_bytes(path, self.content(), overwrite=True)

    def files(self, folder: Path) -> tuple[str, ...]:
        """Return the names of the safetensors files beside the card, in the order of the hash.

        Raises
        ------
        CardError
            An index that is missing, not readable, or names files elsewhere.
        """
        if not self.file.endswith(INDEX_SUFFIX):
            return (self.file,)
        return tuple(sorted(set(read_index(self._existing(folder, self.file)).values())))

    def verified_bytes(self, folder: Path) -> tuple[bytes, ...]:
        """Return the content of the weights files in the folder of the card, shard by shard.

        Raises
        ------
        CardError
            A file is missing, all together are larger than 1 GiB, or have another hash than the
            card states.
        """
        paths = [self._existing(folder, name) for name in self.files(folder)]
        n_bytes = sum(path.stat().st_size for path in paths)
        if n_bytes > MAX_WEIGHTS_BYTES:
            raise CardError(f"{self.file}: {n_bytes} bytes, limit {MAX_WEIGHTS_BYTES}")
        shards = tuple(path.read_bytes() for path in paths)
        digest = hash_of(shards)
        if digest != self.sha256:
            raise CardError(
                f"{self.file}: sha256 is {digest[:12]}..., the card states {self.sha256[:12]}..."
            )
        return shards

    def _existing(self, folder: Path, name: str) -> Path:
        if not (folder / name).is_file():
            raise CardError(f"{name}: weights of {self.model} {self.preset} are missing")
        return folder / name


def hash_of(shards: Iterable[bytes]) -> str:
    """Return the sha256 of shards one after the other; of one shard it is that of its file."""
    digest = hashlib.sha256()
    for shard in shards:
        digest.update(shard)
    return digest.hexdigest()


def read_index(path: Path) -> dict[str, str]:
    """Return the shard of every tensor that an index lists.

    Raises
    ------
    CardError
        Not an index, or one that names files elsewhere.
    """
    if path.stat().st_size > MAX_CARD_BYTES:
        raise CardError(
            f"{path.name}: index has {path.stat().st_size} bytes, limit {MAX_CARD_BYTES}"
        )
    try:
        shards = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CardError(f"{path.name}: not an index of shards (no weight_map)") from None
    if not isinstance(shards, dict) or not shards:
        raise CardError(f"{path.name}: weight_map lists no tensor")
    for name in shards.values():
        if not isinstance(name, str) or Path(name).name != name:
            raise CardError(f"{path.name}: shard {name!r} must lie beside the index")
    return shards


def _reason(error: ValidationError) -> str:
    """Return why the text of a card was refused."""
    problem = error.errors(include_url=False)[0]
    if problem["type"] == "json_invalid":
        return f"not a JSON card ({problem['ctx']['error']})"
    if not problem["loc"]:
        return "not a JSON card (a card is a JSON object)"
    return one_line(error, WeightsCard)
