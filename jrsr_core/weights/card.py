"""The weights card: a JSON file that states what a file of weights is and where it comes from."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

from pydantic import StringConstraints, TypeAdapter, ValidationError

from jrsr_core.atomic import write_bytes

MAX_CARD_BYTES = 1 << 20
MAX_WEIGHTS_BYTES = 1 << 30


Line = Annotated[str, StringConstraints(max_length=1000, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]
"""Text of a card: one line without control characters."""

WANTED = {
    "string_type": "text",
    "dict_type": "an object",
    "string_pattern_mismatch": "one line without control characters",
    "string_too_long": "at most 1000 characters long",
}
"""Kind of error in a field -> what the field must be."""


class CardError(ValueError):
    """A card or its weights that must not be used; the message is one line."""


@dataclass(frozen=True)
class WeightsCard:
    """One set of weights.

    Attributes
    ----------
    model, preset
        Names that `build_model` takes.
    file, sha256
        safetensors file beside the card, and its hash.
    architecture
        Every size of the network; compared with what `build_model` builds.
    training
        Configuration of the run: recipe, steps, samples seen, seed, learning rate, seconds.
    data, data_sha256
        Name of the training data, and the hash of the list of inputs.
    commit
        Commit of the code that trained it.
    metrics
        Per protocol and system, the figures of an evaluation.
    licence, intended_use
        Conditions of use.
    range
        Variety of the training scans: coils, noise, acceleration, matrix.
    """

    model: Line
    preset: Line
    file: Line
    sha256: Line
    architecture: dict[str, Any]
    training: dict[str, Any] = field(default_factory=dict)
    data: Line = ""
    data_sha256: Line = ""
    commit: Line = ""
    metrics: dict[str, Any] = field(default_factory=dict)
    licence: Line = "MIT"
    intended_use: Line = "Research only. Not a medical device."
    range: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "WeightsCard":
        """Return the card in a JSON file.

        Raises
        ------
        CardError
            No JSON object of at most 1 MiB; a field that is unknown, missing or ill-typed.
        """
        if path.stat().st_size > MAX_CARD_BYTES:
            raise CardError(
                f"{path.name}: card has {path.stat().st_size} bytes, limit {MAX_CARD_BYTES}"
            )
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except RecursionError:
            raise CardError(f"{path.name}: not a JSON card (nested too deeply)") from None
        except ValueError as error:
            raise CardError(f"{path.name}: not a JSON card ({error})") from error
        if not isinstance(values, dict):
            raise CardError(f"{path.name}: a card is a JSON object, got {type(values).__name__}")
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise CardError(f"{path.name}: unknown field {unknown[0]!r}")
        required = ("model", "preset", "file", "sha256", "architecture")
        if missing := [name for name in required if name not in values]:
            raise CardError(f"{path.name}: field {missing[0]!r} is missing")
        try:
            card = TypeAdapter(cls).validate_python(values)
        except ValidationError as error:
            first = error.errors()[0]
            wanted = WANTED.get(first["type"], first["msg"])
            raise CardError(f"{path.name}: field {first['loc'][0]!r} must be {wanted}") from None
        if Path(values["file"]).name != values["file"]:
            raise CardError(f"{path.name}: file {values['file']!r} must lie beside the card")
        return card

    def write(self, path: Path) -> None:
        """Write the card; an existing one is replaced when the new one is complete."""
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"
        write_bytes(path, text.encode(), overwrite=True)

    def verified_bytes(self, folder: Path) -> bytes:
        """Return the content of the weights file in the folder of the card.

        Raises
        ------
        CardError
            The file is missing, larger than 1 GiB, or has another hash than the card states.
        """
        path = folder / self.file
        if not path.is_file():
            raise CardError(f"{self.file}: weights of {self.model} {self.preset} are missing")
        if path.stat().st_size > MAX_WEIGHTS_BYTES:
            raise CardError(f"{self.file}: {path.stat().st_size} bytes, limit {MAX_WEIGHTS_BYTES}")
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if digest != self.sha256:
            raise CardError(
                f"{self.file}: sha256 is {digest[:12]}..., the card states {self.sha256[:12]}..."
            )
        return content
