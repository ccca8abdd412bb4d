"""From sources to a manifest: chooses the usable slices and assigns subjects to splits."""

import random
from collections.abc import Collection, Iterable

from jrsr_core.simulation.image_stack import check_finite
from training.errors import UsageError

from .manifest import Acquisition, Entry, Manifest
from .sources import Source

MIN_MEAN = 0.02
"""Slices with a smaller mean (maximum 1) are left out: they show little but background."""

HELD_OUT = 0.08
"""Share of the subjects for validation, and for test, where the data have no split."""

KSPACE = ("fastmri", "modl", "ismrmrd")


def assign_splits(sources: list[Source], seed: int) -> dict[str, str]:
    """Return the split of every subject: that of its source, else a random one.

    Raises
    ------
    ValueError
        Sources have one subject in two splits.
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
    return own | draw_splits(free - set(own), own.values(), seed)


def draw_splits(subjects: Iterable[str], own: Collection[str], seed: int) -> dict[str, str]:
    """Return a random split for every subject; of the held-out ones those that `own` lacks."""
    drawn = sorted(subjects)
    random.Random(seed).shuffle(drawn)
    n_out = round(HELD_OUT * len(drawn))
    n_val = max(n_out, 1) if len(drawn) > 1 and "val" not in own else 0
    n_test = max(n_out, 1) if len(drawn) > 2 and "test" not in own else 0
    names = ["val"] * n_val + ["test"] * n_test
    names += ["train"] * (len(drawn) - len(names))
    return dict(zip(drawn, names, strict=True))


def _usable(source: Source) -> list[int]:
    """Return the slices with an object in them; all those of k-space."""
    if source.kind in KSPACE:
        return list(range(len(source)))
    return [i for i in range(len(source)) if _mean(source, i) >= MIN_MEAN]


def _mean(source: Source, index: int) -> float:
    image = source.read(index)
    check_finite(image, f"{source.path.name}: slice {index}")
    return float(image.mean())


def build_manifest(
    sources: list[Source], acquisition: Acquisition, n_scans: int | None = None
) -> Manifest:
    """Return the manifest of the scans of the sources.

    It has one scan per usable slice. With `n_scans` it has so many, drawn at random from the
    training slices (a slice may come several times, scanned differently), and those of validation.

    Raises
    ------
    ValueError
        A subject in two splits, no usable slice, pixels that are not finite, no training slice to
        draw from, `variety` on measured k-space.
    """
    splits = assign_splits(sources, acquisition.seed)
    slices = [(s, i) for s, source in enumerate(sources) for i in _usable(source)]
    if not slices:
        raise ValueError(f"{sources[0].path.name}: no slice with an object in it")
    if acquisition.variety is not None:
        for source in sources:
            if source.kind in KSPACE:
                raise UsageError(f"{source.path.name}: measured k-space is scanned as it is")

    def entry(number: int, s: int, i: int) -> Entry:
        subject = sources[s].subjects[i]
        return Entry(f"scan_{number:05d}", subject, splits[subject], s, i, number)

    scans = [entry(n, s, i) for n, (s, i) in enumerate(slices)]
    if n_scans is not None:
        train = [x for x in scans if x.split == "train"]
        if not train:
            names = ", ".join(x.path.name for x in sources)
            found = " and ".join(sorted({x.split for x in scans}))
            raise ValueError(
                f"{names}: slices of {found} only, none of train to draw {n_scans} scans from "
                "(a file or folder named train, val or test keeps its split)"
            )
        draw = random.Random(acquisition.seed)
        chosen = [train[draw.randrange(len(train))] for _ in range(n_scans)]
        held_out = [x for x in scans if x.split == "val"]
        scans = [entry(n, x.source, x.slice) for n, x in enumerate(chosen)]
        scans += [entry(n_scans + n, x.source, x.slice) for n, x in enumerate(held_out)]
    facts = tuple({"name": x.path.name, "kind": x.kind, "sha256": x.sha256()} for x in sources)
    paths = tuple(str(x.path.absolute()) for x in sources)
    return Manifest(acquisition, facts, tuple(scans), paths=paths)
