"""Batches of scans in an order that depends on seed and step alone.

Scan k of the run (k counts over all batches) is scan `k mod n` of the permutation of epoch
`k div n`, so a run that goes on at a step sees what an uninterrupted one would have seen. With
several processes each takes its share of every batch.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from training.config import RunConfig

from .manifest import NAME, Acquisition, Entry, Manifest
from .prepare import get_scan, open_folder
from .scans import TrainingScan, collate, unpack_scan

PREFETCH = 4
ACQUIRED = ("protocol", "truth_maps", "hr_limit", "n_coils")
"""Settings of scans made on the fly; a prepared folder has its own."""

TINY = {"hr_limit": 72, "n_coils": 6}
"""What the preset tiny makes of images, so that a run takes seconds; the others keep all."""


@dataclass(frozen=True, eq=False)
class ScanFolder(Dataset):
    """The scans of one split, made when first asked for."""

    folder: Path
    manifest: Manifest
    entries: list[Entry]

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> tuple[str, dict[str, Tensor]]:
        entry = self.entries[index]
        return entry.name, get_scan(self.folder, self.manifest, entry)


def open_data(config: RunConfig, n_maps: int = 1) -> tuple[Path, Manifest]:
    """Return folder and manifest of a run: a prepared folder, or images scanned on the fly.

    What is made on the fly is kept in `OUT/scans`. `n_maps` is what the model makes use of.

    Raises
    ------
    ValueError
        Fewer training scans than a batch, fewer map sets than the model uses, a prepared folder
        that was made otherwise than the recipe says; and what `Manifest.read`, `open_folder` raise.
    """
    data = Path(config.data)
    if (data / NAME).exists():
        folder, manifest = data, Manifest.read(data)
        _check_acquisition(config, manifest)
    else:
        sizes = {"hr_limit": config.hr_limit, "n_coils": config.n_coils}
        if config.preset == "tiny":
            sizes = {k: v or TINY[k] for k, v in sizes.items()}
        sizes |= {"n_maps": n_maps, "seed": config.seed}
        acquisition = Acquisition(config.protocol, config.truth_maps, **sizes)
        folder = Path(config.out) / "scans"
        manifest = open_folder([data], folder, acquisition)
    if manifest.acquisition.n_maps < n_maps:
        have = manifest.acquisition.n_maps
        raise ValueError(
            f"{config.data}: prepared with {have} map set, {config.model} uses {n_maps}"
        )
    n = len(manifest.split("train"))
    if n < config.batch:
        raise ValueError(f"{config.data}: {n} training scans, batch is {config.batch}")
    return folder, manifest


def _check_acquisition(config: RunConfig, manifest: Manifest) -> None:
    """Refuse settings that a prepared folder does not follow; a default says nothing."""
    defaults = {f.name: f.default for f in fields(RunConfig)}
    for key in ACQUIRED:
        wanted, found = getattr(config, key), getattr(manifest.acquisition, key)
        if wanted not in (defaults[key], found):
            raise ValueError(f"{config.data}: prepared with {key} {found}, recipe: {wanted}")


def scan_order(step: int, n_scans: int, batch: int, seed: int) -> list[int]:
    """Return the indices of the scans of one step."""
    indices = []
    for k in range(step * batch, (step + 1) * batch):
        epoch, position = divmod(k, n_scans)
        order = torch.randperm(n_scans, generator=torch.Generator().manual_seed(seed + epoch))
        indices.append(int(order[position]))
    return indices


@dataclass(frozen=True)
class _Order:
    """Batch sampler: this process's share of the batches from `first` to the last step."""

    first: int
    config: RunConfig
    n_scans: int
    rank: int
    world: int

    def __len__(self) -> int:
        return self.config.steps - self.first

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.first, self.config.steps):
            order = scan_order(step, self.n_scans, self.config.batch, self.config.seed)
            yield order[self.rank :: self.world]


def _join(items: list[tuple[str, dict[str, Tensor]]]) -> tuple[list[str], dict[str, Tensor]]:
    return [name for name, _ in items], collate([scan for _, scan in items])


def train_batches(
    config: RunConfig, folder: Path, manifest: Manifest, first: int, rank: int = 0, world: int = 1
) -> Iterator[tuple[list[str], TrainingScan]]:
    """Yield names and scans of every batch from step `first` on."""
    scans = ScanFolder(folder, manifest, manifest.split("train"))
    loader = DataLoader(
        scans,
        batch_sampler=_Order(first, config, len(scans), rank, world),
        num_workers=config.workers,
        collate_fn=_join,
        prefetch_factor=PREFETCH if config.workers else None,
        multiprocessing_context="spawn" if config.workers else None,
        pin_memory=torch.cuda.is_available(),
    )
    for names, tensors in loader:
        yield names, unpack_scan(tensors)


def validation_scans(
    config: RunConfig, folder: Path, manifest: Manifest
) -> Iterator[tuple[str, TrainingScan]]:
    """Yield up to `validation_slices` scans spread over the validation split, one at a time."""
    entries = manifest.split("val")
    n = min(config.validation_slices, len(entries))
    for k in range(n):
        entry = entries[k * len(entries) // n]
        yield entry.name, unpack_scan(get_scan(folder, manifest, entry))
