"""The manifest of a training set: which slices of which files become which scans, and how.

It is the file `manifest.json` in the folder of the scans and is all that is needed to make them
again. Its hash depends on the content of the inputs and on how they are scanned, not on their
paths: the same inputs give the same hash on every machine.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from jrsr_core.common.atomic import write_bytes
from jrsr_core.common.validation import one_line
from jrsr_core.physics.resolution import Shape
from jrsr_core.simulation.protocols import PROTOCOLS, Protocol
from training.data.sources.base import SPLITS

from .n_acs import fitting_acs
from .variety.ranges import Variety, without_neutral

NAME = "manifest.json"
VERSION = 2
READABLE = (1, VERSION)
"""Scans of version 1 are drawn from other seeds; see `acquire.scan_seed`."""


@dataclass(frozen=True)
class Acquisition:
    """How slices are scanned: a protocol, with what replaces parts of it.

    `hr_limit` is the longest side of the HR image, `n_coils` the number of simulated coils; 0
    leaves both as they are. `n_maps` map sets are estimated. With `variety` the protocol is only a
    part of what is drawn.
    """

    protocol: str
    truth_maps: str = "full"
    hr_limit: int = 0
    n_coils: int = 0
    n_maps: int = 1
    seed: int = 0
    variety: Variety | None = None

    def fitted(self, lr_shape: Shape) -> Protocol:
        """Return the protocol with our number of coils and an ACS that fits a small matrix."""
        protocol = PROTOCOLS[self.protocol]
        n_coils = self.n_coils or protocol.n_coils
        return replace(protocol, n_coils=n_coils, n_acs=fitting_acs(protocol, lr_shape))


@dataclass(frozen=True)
class Entry:
    """One scan: its name, subject, split, and the slice of the source it is made from."""

    name: str
    subject: str
    split: str
    source: int
    slice: int
    seed: int


@with_config(ConfigDict(extra="forbid", strict=True))
@dataclass(frozen=True)
class Manifest:
    """Acquisition, sources (name, kind, sha256), scans, and the paths where the sources were."""

    acquisition: Acquisition
    sources: tuple[dict[str, str], ...]
    scans: tuple[Entry, ...]
    version: int = VERSION
    paths: tuple[str, ...] = field(default=(), compare=False)

    @property
    def sha256(self) -> str:
        """Hash over everything but the paths."""
        facts = {k: v for k, v in asdict(self).items() if k != "paths"}
        if variety := facts["acquisition"]["variety"]:
            facts["acquisition"]["variety"] = without_neutral(variety)
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def split(self, name: str) -> list[Entry]:
        """Return the scans of a split."""
        return [s for s in self.scans if s.split == name]

    def first_of_parts(self, name: str, n_parts: int) -> list[Entry]:
        """Return the first scan of each of `n_parts` equal parts of a split; all of a smaller one.

        Unlike `spread` it leaves out the end of a split: the figures of earlier runs are of these.
        """
        entries = self.split(name)
        n = min(n_parts, len(entries))
        return [entries[k * len(entries) // n] for k in range(n)]

    def write(self, folder: Path) -> None:
        """Write `manifest.json` into the folder of the scans; it appears complete or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(asdict(self) | {"sha256": self.sha256}, indent=1)
        write_bytes(folder / NAME, text.encode("utf-8"), overwrite=True)

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read and check the manifest of a folder.

        Raises
        ------
        ValueError
            Not a manifest (the field is named), one that was edited (its hash does not fit), or a
            subject in two splits.
        """
        path = folder / NAME
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            stated = str(values.pop("sha256"))
        except (ValueError, AttributeError, TypeError, KeyError, RecursionError):
            raise ValueError(f"{path}: not a manifest (no JSON object with its sha256)") from None
        _complete(values)
        try:
            made = TypeAdapter(cls).validate_json(json.dumps(values))
        except ValidationError as error:
            reason = one_line(error, cls)
            raise ValueError(f"{path}: not a manifest of version {VERSION} ({reason})") from None
        check_subjects(made.scans, str(path))
        if made.version not in READABLE or made.sha256 != stated:
            raise ValueError(
                f"{path}: sha256 is {made.sha256[:12]}..., the file says {stated[:12]}...; "
                "it was edited or is of another version"
            )
        return made


def _complete(values: dict[str, Any]) -> None:
    """Add what older manifests do not have."""
    acquisition = values.get("acquisition")
    variety = acquisition.get("variety") if isinstance(acquisition, dict) else None
    if isinstance(variety, dict):
        variety.setdefault("tissue_phase", 0.0)


def check_subjects(scans: Iterable[Entry], where: str) -> None:
    """Refuse scans of one subject in two splits.

    Raises
    ------
    ValueError
        A subject in two splits; both are named.
    """
    splits: dict[str, str] = {}
    for scan in scans:
        if scan.split not in SPLITS:
            raise ValueError(f"{where}: {scan.name} has split {scan.split!r}, known: {SPLITS}")
        other = splits.setdefault(scan.subject, scan.split)
        if other != scan.split:
            raise ValueError(f"{where}: subject {scan.subject!r} is in {other} and in {scan.split}")
