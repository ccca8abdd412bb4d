"""Batches of scans in an order that depends on seed and step alone.

The scans come in a new permutation in every epoch. Those of one size (coils, matrix) form a batch
as soon as there are enough of them; with a single size these are simply the next scans. The order
is gone through from its beginning, so a run that continues at a step gets the scans that an
uninterrupted one would get. With several processes each takes its share of every batch.
"""

from collections import Counter
from collections.abc import Generator, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from training.config import RunConfig, flat_settings
from training.config.groups import Scans
from training.data.made import train_sizes
from training.data.manifest import NAME, Acquisition, Entry, Manifest
from training.data.prepare import get_scan, open_folder
from training.data.scans import TrainingScan, collate, unpack_scan
from training.data.variety.ranges import COIL_COUNTS, SHAPES, WIDE_SHAPES, Variety, find_variety
from training.data.workers import load
from training.errors import UsageError

from .packed import PackedBatch, pack

PREFETCH = 4
ACQUIRED = ("truth_maps", "hr_limit", "n_coils")
"""Keys of the group `scans` that a prepared folder has followed."""

TINY_HR_LIMIT, TINY_N_COILS = 72, 6
"""For scans made on the fly for the preset tiny, so that a run takes seconds."""


@dataclass(frozen=True, eq=False)
class ScanFolder(Dataset):
    """The scans of one split, each made when it is first read."""

    folder: Path
    manifest: Manifest
    entries: list[Entry]

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> tuple[str, dict[str, Tensor]]:
        entry = self.entries[index]
        return entry.name, get_scan(self.folder, self.manifest, entry)


def open_data(config: RunConfig, n_maps: int = 1) -> tuple[Path, Manifest]:
    """Return folder and manifest of the scans of a run.

    They are a prepared folder, or a new one for images that are scanned on the fly: `OUT/scans`.
    `n_maps` is the number of map sets that the model uses.

    Raises
    ------
    UsageError
        Fewer training scans than a batch, fewer map sets than the model uses, a prepared folder
        that was made otherwise than the recipe says.
    ValueError
        As `Manifest.read` and `open_folder`.
    """
    data = Path(config.data)
    if (data / NAME).exists() and config.scans.vary:
        raise UsageError(f"{config.data}: scans.vary needs images, these scans are prepared")
    if (data / NAME).exists():
        folder, manifest = data, Manifest.read(data)
        _check_acquisition(config, manifest)
    else:
        scans, is_tiny = config.scans, config.preset == "tiny"
        acquisition = Acquisition(
            config.protocol,
            scans.truth_maps,
            hr_limit=scans.hr_limit or (TINY_HR_LIMIT if is_tiny else 0),
            n_coils=scans.n_coils or (TINY_N_COILS if is_tiny else 0),
            n_maps=n_maps,
            seed=config.seed,
            variety=fresh_variety(scans) if scans.vary else None,
        )
        folder = Path(config.out) / "scans"
        manifest = open_folder([data], folder, acquisition)
    if manifest.acquisition.n_maps < n_maps:
        have = manifest.acquisition.n_maps
        raise UsageError(
            f"{config.data}: prepared with {have} map set, {config.model} uses {n_maps}"
        )
    n = len(manifest.split("train"))
    if not config.scans.vary and n < config.optimizer.batch:
        raise UsageError(
            f"{config.data}: {n} training scans, optimizer.batch is {config.optimizer.batch}"
        )
    return folder, manifest


def fresh_variety(scans: Scans) -> Variety:
    """Return the ranges of scans that are made while training, with a few shapes."""
    variety = find_variety(scans.variety, scans.objects)
    if scans.variety == "brain":
        return replace(variety, shapes=SHAPES, coil_counts=COIL_COUNTS)
    return replace(variety, shapes=WIDE_SHAPES, coil_counts=(1, 2, 4, *COIL_COUNTS))


def acquired_settings(acquisition: Acquisition) -> dict[str, Any]:
    """Return how scans were made, by the dotted keys that scans made on the fly follow."""
    scans = {f"scans.{name}": getattr(acquisition, name) for name in ACQUIRED}
    return {"protocol": acquisition.protocol, **scans}


def _check_acquisition(config: RunConfig, manifest: Manifest) -> None:
    """Refuse settings that a prepared folder does not follow.

    One that is not given is none, and neither is a size of 0.
    """
    wanted = flat_settings(config)
    given = config.model_fields_set | {f"scans.{name}" for name in config.scans.model_fields_set}
    for key, found in acquired_settings(manifest.acquisition).items():
        if key in given and wanted[key] not in (0, found):
            raise UsageError(f"{config.data}: prepared with {key} {found}, recipe: {wanted[key]}")


def scan_orders(sizes: Sequence[Hashable], batch: int, seed: int) -> Iterator[list[int]]:
    """Yield the indices of the scans of every step, which are of one size; without end."""
    waiting: dict[Hashable, list[int]] = {}
    for epoch in count():
        generator = torch.Generator().manual_seed(seed + epoch)
        for index in torch.randperm(len(sizes), generator=generator).tolist():
            group = waiting.setdefault(sizes[index], [])
            group.append(index)
            if len(group) == batch:
                yield waiting.pop(sizes[index])


def _batch_sizes(config: RunConfig, folder: Path, manifest: Manifest) -> Sequence[Hashable]:
    """Return the sizes of the training scans, each with enough scans for a batch.

    Raises
    ------
    UsageError
        Too few scans of a size, or scans whose size is not known before they are made.
    """
    batch = config.optimizer.batch
    if batch == 1:
        return [None] * len(manifest.split("train"))
    found = train_sizes(folder, manifest)
    sizes = [size for size in found if size is not None]
    given = f"optimizer.batch is {batch}"
    if len(sizes) < len(found):
        raise UsageError(
            f"{config.data}: {len(found) - len(sizes)} of {len(found)} varied scans are not made "
            f"yet, {given} and needs their sizes: let jrsr-train prepare end, or use "
            "optimizer.batch=1"
        )
    size, n = Counter(sizes).most_common()[-1]
    if n < batch:
        shape = (size.n_coils, *size.lr_shape)
        raise UsageError(
            f"{config.data}: {n} training scans of {shape} (coil, ky, kx), {given}, and a batch "
            f"has one size: use optimizer.batch={n}, or images and scans.vary=true"
        )
    return sizes


def _join(items: list[tuple[str, dict[str, Tensor]]]) -> PackedBatch:
    return pack([name for name, _ in items], collate([scan for _, scan in items]), pin=False)


def train_batches(
    config: RunConfig, folder: Path, manifest: Manifest, first: int, rank: int = 0, world: int = 1
) -> Generator[PackedBatch]:
    """Yield every batch of prepared scans from step `first` to the last; without end by time."""
    scans, workers = ScanFolder(folder, manifest, manifest.split("train")), config.machine.workers
    sizes = _batch_sizes(config, folder, manifest)
    orders = scan_orders(sizes, config.optimizer.batch, config.seed)
    orders = islice(orders, first, None if config.minutes else config.steps)
    yield from load(
        scans,
        workers,
        batch_sampler=(order[rank::world] for order in orders),
        collate_fn=_join,
        prefetch_factor=PREFETCH if workers else None,
        pin_memory=torch.cuda.is_available(),
    )


def validation_scans(
    config: RunConfig, folder: Path, manifest: Manifest
) -> Iterator[tuple[str, TrainingScan]]:
    """Yield up to `log.validation_slices` scans of the validation split."""
    for entry in manifest.first_of_parts("val", config.log.validation_slices):
        yield entry.name, unpack_scan(get_scan(folder, manifest, entry))
