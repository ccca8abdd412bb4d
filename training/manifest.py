"""The manifest of a training set: which slices of which files become which scans, and how.

It stands in the folder of the scans as `manifest.json` and is all that is needed to make them
again. Its hash depends on the content of the inputs and on how they are scanned, not on where
they lie: the same inputs give the same hash on every machine.
"""

import hashlib
import json
import random
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from jrsr_core.physics.resolution import Shape, crop_or_pad
from jrsr_core.simulation.masks import make_mask
from jrsr_core.simulation.protocols import PROTOCOLS, Protocol

from .scans import TrainingScan, calibrate_scan
from .sources import Source, SourceError, open_source
from .sources.base import SPLITS
from .variety import Variety, coarser_pixels, draw_scan, scan_as_protocol, scan_kspace

NAME = "manifest.json"
VERSION = 1
MIN_MEAN = 0.02
"""Slices with a smaller mean (maximum 1) show too little to learn from."""
HELD_OUT = 0.08
"""Share of the subjects for validation, and for test, where the data come unsplit."""


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
        """Return the protocol with a coil number of ours and an ACS that fits a small matrix."""
        protocol = PROTOCOLS[self.protocol]
        n_coils = self.n_coils or protocol.n_coils
        if protocol.mask == "poisson":
            room = int((lr_shape[0] * lr_shape[1] / protocol.acceleration / 2) ** 0.5)
        else:
            room = int(0.75 * round(lr_shape[0] / protocol.acceleration))
        return replace(protocol, n_coils=n_coils, n_acs=min(protocol.n_acs, room))


@dataclass(frozen=True)
class Entry:
    """One scan: its name, subject, split, and the slice of the source it is made from."""

    name: str
    subject: str
    split: str
    source: int
    slice: int
    seed: int


@dataclass(frozen=True)
class Manifest:
    """Acquisition, sources (name, kind, sha256, and where they lay) and scans."""

    acquisition: Acquisition
    sources: tuple[dict[str, str], ...]
    scans: tuple[Entry, ...]
    version: int = VERSION
    paths: tuple[str, ...] = field(default=(), compare=False)

    @property
    def sha256(self) -> str:
        """Hash over everything but the paths."""
        facts = {k: v for k, v in asdict(self).items() if k != "paths"}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def split(self, name: str) -> list[Entry]:
        """Return the scans of a split."""
        return [s for s in self.scans if s.split == name]

    def write(self, folder: Path) -> None:
        """Write `manifest.json` into the folder of the scans, atomically."""
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f"{NAME}.partial"
        partial.write_text(json.dumps(asdict(self) | {"sha256": self.sha256}, indent=1))
        partial.replace(folder / NAME)

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """Read and check the manifest of a folder.

        Raises
        ------
        ValueError
            Not a manifest, one that was edited (its hash does not fit), or a subject in two
            splits.
        """
        path = folder / NAME
        try:
            values = json.loads(path.read_text())
            stated = values.pop("sha256")
            acquisition = dict(values.pop("acquisition"))
            variety = acquisition.pop("variety")
            made = cls(
                acquisition=Acquisition(**acquisition, variety=_variety(variety)),
                sources=tuple(values.pop("sources")),
                scans=tuple(Entry(**s) for s in values.pop("scans")),
                paths=tuple(values.pop("paths")),
                **values,
            )
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}: not a manifest of version {VERSION} ({error})") from error
        check_subjects(made.scans, str(path))
        if made.version != VERSION or made.sha256 != stated:
            raise ValueError(
                f"{path}: sha256 is {made.sha256[:12]}..., the file says {stated[:12]}...; "
                "it was edited or is of another version"
            )
        return made


def _variety(values: dict | None) -> Variety | None:
    """Variety from JSON, where tuples have become lists."""
    if values is None:
        return None
    known = {f.name for f in fields(Variety)}
    as_tuple = {
        k: tuple(tuple(v) if isinstance(v, list) else v for v in value)
        if isinstance(value, list)
        else value
        for k, value in values.items()
        if k in known
    }
    return Variety(**as_tuple)


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


def assign_splits(sources: list[Source], seed: int) -> dict[str, str]:
    """Return the split of every subject: the source's own, else drawn by subject.

    Raises
    ------
    ValueError
        Sources that put one subject into two splits.
    """
    own: dict[str, str] = {}
    free: set[str] = set()
    for source in sources:
        for subject, split in zip(source.subjects, source.splits, strict=True):
            if not split:
                free.add(subject)
            elif own.setdefault(subject, split) != split:
                raise ValueError(
                    f"{source.path.name}: subject {subject!r} is in {own[subject]} and in {split}"
                )
    drawn = sorted(free - set(own))
    random.Random(seed).shuffle(drawn)
    n_out = round(HELD_OUT * len(drawn))
    n_val = max(n_out, 1) if len(drawn) > 1 and "val" not in own.values() else 0
    n_test = max(n_out, 1) if len(drawn) > 2 and "test" not in own.values() else 0
    names = ["val"] * n_val + ["test"] * n_test
    names += ["train"] * (len(drawn) - len(names))
    return own | dict(zip(drawn, names, strict=True))


def _usable(source: Source) -> list[int]:
    """Slices with something in them; of k-space all are."""
    if source.kind in ("fastmri", "modl", "ismrmrd"):
        return list(range(len(source)))
    return [i for i in range(len(source)) if float(source.read(i).mean()) >= MIN_MEAN]


def build_manifest(
    sources: list[Source], acquisition: Acquisition, n_scans: int | None = None
) -> Manifest:
    """List the scans of the sources.

    One scan per usable slice; with `n_scans`, that many drawn at random from the training slices
    (a slice may come several times, scanned differently) and those of validation as they are.

    Raises
    ------
    ValueError
        A subject in two splits, no usable slice, `variety` on measured k-space.
    """
    splits = assign_splits(sources, acquisition.seed)
    slices = [(s, i) for s, source in enumerate(sources) for i in _usable(source)]
    if not slices:
        raise ValueError(f"{sources[0].path.name}: no slice with an object in it")
    if acquisition.variety is not None:
        for source in sources:
            if source.kind in ("fastmri", "modl", "ismrmrd"):
                raise ValueError(f"{source.path.name}: measured k-space is scanned as it is")

    def entry(number: int, s: int, i: int) -> Entry:
        subject = sources[s].subjects[i]
        return Entry(f"scan_{number:05d}", subject, splits[subject], s, i, number)

    scans = [entry(n, s, i) for n, (s, i) in enumerate(slices)]
    if n_scans is not None:
        train = [x for x in scans if x.split == "train"] or scans
        draw = random.Random(acquisition.seed)
        chosen = [train[draw.randrange(len(train))] for _ in range(n_scans)]
        held_out = [x for x in scans if x.split == "val"]
        scans = [entry(n, x.source, x.slice) for n, x in enumerate(chosen)]
        scans += [entry(n_scans + n, x.source, x.slice) for n, x in enumerate(held_out)]
    facts = tuple({"name": x.path.name, "kind": x.kind, "sha256": x.sha256()} for x in sources)
    paths = tuple(str(x.path.absolute()) for x in sources)
    return Manifest(acquisition, facts, tuple(scans), paths=paths)


@lru_cache(maxsize=32)
def _mask(name: str, shape: Shape, acceleration: float, n_acs: int) -> Tensor:
    """One mask for a whole data set, as in the paper."""
    return make_mask(name, shape, acceleration, n_acs=n_acs, seed=0)


@lru_cache(maxsize=64)
def _source(path: str, kind: str) -> Source:
    source = open_source(Path(path))
    if source.kind != kind:
        raise SourceError(f"{path}: is {source.kind}, the manifest says {kind}")
    return source


def _even(n: int) -> int:
    return n // 2 * 2


def _fit_image(image: Tensor, limit: int) -> Tensor:
    """Coarser pixels until the longest side is `limit`, then even sizes."""
    if limit and max(image.shape) > limit:
        image = coarser_pixels(image, max(image.shape) / limit)
    image = image[: _even(image.shape[0]), : _even(image.shape[1])]
    return image / image.max().clamp_min(1e-12)


def _fit_kspace(kspace: Tensor, limit: int) -> Tensor:
    ny, nx = kspace.shape[-2:]
    zoom = max(max(ny, nx) / limit, 1.0) if limit else 1.0
    return crop_or_pad(kspace, (_even(round(ny / zoom)), _even(round(nx / zoom))))


def make_scan(manifest: Manifest, entry: Entry) -> TrainingScan:
    """Make one scan of a manifest; the same entry always gives the same scan.

    Raises
    ------
    ValueError
        The scan cannot be calibrated; source and slice are named.
    """
    acquisition = manifest.acquisition
    source = _source(manifest.paths[entry.source], manifest.sources[entry.source]["kind"])
    generator = torch.Generator().manual_seed(acquisition.seed * 1_000_003 + entry.seed)
    data = source.read(entry.slice)
    try:
        if acquisition.variety is not None:
            protocol = PROTOCOLS[acquisition.protocol]
            drawn = draw_scan(data, protocol, acquisition.variety, generator)
            return calibrate_scan(drawn, acquisition.truth_maps, acquisition.n_maps)
        fit = _fit_kspace if data.is_complex() else _fit_image
        data = fit(data, acquisition.hr_limit)
        lr_shape: Shape = (data.shape[-2] // 2, data.shape[-1] // 2)
        protocol = acquisition.fitted(lr_shape)
        mask = _mask(protocol.mask, lr_shape, protocol.acceleration, protocol.n_acs)
        if data.is_complex():
            drawn = scan_kspace(data, mask)
        else:
            drawn = scan_as_protocol(data, protocol, mask, generator)
        return calibrate_scan(drawn, acquisition.truth_maps, acquisition.n_maps)
    except ValueError as error:
        name = manifest.sources[entry.source]["name"]
        raise ValueError(f"{name}: slice {entry.slice}: {error}") from error
