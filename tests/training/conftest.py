"""Small training data, made once: phantom images of three subjects, and scans of them."""

from contextlib import ExitStack
from functools import cache

import h5py
import numpy as np
import pytest
import torch

from jrsr_core.simulation.phantoms import brain_phantom
from training.config import make_config
from training.config.keys import flatten
from training.data.manifest import Acquisition
from training.data.prepare import make_all, open_folder
from training.runs.run import Run

SIZE = (64, 72)
SUBJECTS = ("a", "a", "b", "c", "c", "d")


def write_images(path, n=6, subjects=SUBJECTS):
    """Write phantom slices in the layout of the open data (readout first)."""
    phantom = (255 * brain_phantom(SIZE)).to(torch.uint8).numpy().T
    slices = [np.roll(phantom, 2 * i, 1)[:, :: (-1) ** i] for i in range(n)]
    with h5py.File(path, "w") as file:
        file["slices"] = np.stack(slices)
        file["subject"] = np.array([s.encode() for s in subjects[:n]])
    return path


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("images") / "stack.h5")


def prepared(images, folder, protocol):
    manifest = open_folder([images], folder, Acquisition(protocol, n_coils=4, n_maps=2))
    assert len(list(make_all(folder, manifest))) == len(manifest.scans) - len(
        manifest.split("test")
    )
    return folder


@pytest.fixture(scope="session")
def scans(images, tmp_path_factory):
    """A prepared folder, protocol brain-5x: four training scans or more, one of validation."""
    return prepared(images, tmp_path_factory.mktemp("brain"), "brain-5x")


@pytest.fixture(scope="session")
def fixed_batch(tmp_path_factory):
    """Return a function of the protocol: a folder of two training scans, one of validation."""
    folder = tmp_path_factory.mktemp("batch")
    write_images(folder / "x_train.h5", 2, "aa")
    write_images(folder / "x_val.h5", 1, "b")

    @cache
    def of(protocol):
        return prepared(folder, folder / protocol, protocol)

    return of


def tiny(data, out, **changes):
    """A run of `tiny` on the CPU that takes a second; `loss__pix=1` changes the key loss.pix."""
    values = {"model": "jrsr", "preset": "tiny", "data": str(data), "out": str(out)}
    values |= {"steps": 4, "optimizer.batch": 2, "device": "cpu", "log.tensorboard": False}
    changes = {key.replace("__", "."): value for key, value in changes.items()}
    return make_config(values | {"log.every": 1} | changes)


def changed(config, **changes):
    """The same run with other settings, named as by `tiny`."""
    changes = {key.replace("__", "."): value for key, value in changes.items()}
    return make_config(flatten(config.model_dump(exclude_unset=True), "run") | changes)


@pytest.fixture
def opened_run():
    """Open the run of a recipe; it is closed after the test."""
    with ExitStack() as runs:
        yield lambda config: runs.enter_context(Run(config))
