"""The order of prepared scans: seed and step decide it, and scans of one batch have one size."""

from collections import Counter
from itertools import islice

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from jrsr_core.physics.fourier import fft2c
from jrsr_core.simulation.coils import random_coils
from jrsr_core.simulation.phantoms import brain_phantom
from tests.training.conftest import tiny
from tests.training.data.test_sources import coil_kspace, write_fastmri
from training.data.loading.batches import open_data, scan_orders, train_batches
from training.data.made import train_sizes
from training.data.manifest import Acquisition, Manifest
from training.data.prepare import make_all, open_folder, scan_path
from training.data.variety.ranges import Variety
from training.errors import UsageError
from training.runs import fit
from training.runs.checkpoint import read_checkpoint


def write_stack(path, shape, n):
    """Write phantom slices of a matrix (phase encode, readout), of one subject per file."""
    phantom = (255 * brain_phantom(shape)).to(torch.uint8).numpy().T
    with h5py.File(path, "w") as file:
        file["slices"] = np.stack([np.roll(phantom, 2 * i, 1) for i in range(n)])


@pytest.fixture
def mixed(tmp_path):
    """A folder with images of two matrices, of odd size the second."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    write_stack(folder / "a_train.h5", (64, 72), 3)
    write_stack(folder / "b_train.h5", (57, 81), 2)
    write_stack(folder / "c_val.h5", (64, 72), 1)
    return folder


def one_by_one(step, n_scans, batch, seed):
    """Return scan k of the run as scan k mod n of the permutation of epoch k div n."""
    found = []
    for k in range(step * batch, (step + 1) * batch):
        generator = torch.Generator().manual_seed(seed + k // n_scans)
        found.append(int(torch.randperm(n_scans, generator=generator)[k % n_scans]))
    return found


@pytest.mark.parametrize(("n_scans", "batch"), [(7, 1), (7, 3), (4, 4), (5, 4)])
def test_scans_of_one_size_come_in_the_order_of_the_permutations(n_scans, batch):
    orders = list(islice(scan_orders([None] * n_scans, batch, 3), 12))
    assert orders == [one_by_one(step, n_scans, batch, 3) for step in range(12)]


def test_a_batch_has_one_size_and_every_scan_comes_as_often():
    sizes = ["a"] * 8 + ["b"] * 4
    orders = list(islice(scan_orders(sizes, 2, 0), 60))
    assert all(len({sizes[i] for i in order}) == 1 for order in orders)
    assert {sizes[order[0]] for order in orders} == {"a", "b"}
    visits = Counter(i for order in orders for i in order)
    # 120 visits are ten epochs of twelve scans; one scan of each size may wait for another.
    assert sorted(visits) == list(range(12)) and set(visits.values()) <= {9, 10, 11}


def test_the_size_of_a_scan_is_known_before_it_is_made(mixed, tmp_path):
    csm = random_coils(14, (60, 64), torch.Generator().manual_seed(0))
    kspace = fft2c(csm * brain_phantom((60, 64))) + 1e-3 * coil_kspace(14, (60, 64))
    write_fastmri(mixed / "d_train.h5", kspace, 64)
    for limit in (0, 66):
        folder = tmp_path / f"scans-{limit}"
        manifest = open_folder([mixed], folder, Acquisition("brain-5x", hr_limit=limit, n_coils=5))
        before = train_sizes(folder, manifest)
        list(make_all(folder, manifest))
        kspaces = [
            load_file(scan_path(folder, entry))["kspace"] for entry in manifest.split("train")
        ]
        assert [(size.n_coils, *size.lr_shape) for size in before] == [
            tuple(kspace.shape[1:4]) for kspace in kspaces
        ]
        assert before == train_sizes(folder, manifest)
        assert len(set(before)) == 3


@pytest.mark.parametrize("workers", [0, 1])
def test_scans_of_mixed_sizes_train_with_a_batch_and_continue_bit_for_bit(mixed, tmp_path, workers):
    changes = {"optimizer__schedule": "constant", "machine__workers": workers}
    fit(tiny(mixed, tmp_path / "whole", steps=5, **changes))
    fit(tiny(mixed, tmp_path / "stopped", steps=2, **changes))
    fit(tiny(mixed, tmp_path / "stopped", steps=5, **changes))
    whole, stopped = (read_checkpoint(tmp_path / name)[0] for name in ("whole", "stopped"))
    assert whole.keys() == stopped.keys()
    assert all(torch.equal(value, stopped[key]) for key, value in whole.items())
    config = tiny(mixed, tmp_path / "whole", steps=5, **changes)
    matrices = [
        batch.to(torch.device("cpu")).kspace.shape
        for batch in train_batches(config, *open_data(config), 0)
    ]
    assert {tuple(shape[2:]) for shape in matrices} == {(32, 36), (25, 36)}


def refused(config):
    with pytest.raises(UsageError) as caught:
        next(train_batches(config, *open_data(config), 0))
    return str(caught.value)


def test_a_size_with_too_few_scans_for_a_batch_is_refused_before_the_first_step(mixed, tmp_path):
    config = tiny(mixed, tmp_path / "run", optimizer__batch=3)
    assert refused(config) == (
        f"{mixed}: 2 training scans of (6, 25, 36) (coil, ky, kx), optimizer.batch is 3, and a "
        "batch has one size: use optimizer.batch=2, or images and scans.vary=true"
    )
    assert not list((tmp_path / "run" / "scans").glob("*.safetensors"))


def test_varied_scans_are_made_before_they_share_a_batch(images, tmp_path):
    variety = Variety(n_coils=(4, 4), n_acs=(16, 16), hr_size=(64, 64), protocol_share=0.0)
    acquisition = Acquisition("brain-5x", "acs", seed=1, variety=variety)
    manifest = open_folder([images], tmp_path / "scans", acquisition, 3)
    config = tiny(tmp_path / "scans", tmp_path / "run")
    assert refused(config) == (
        f"{tmp_path / 'scans'}: 3 of 3 varied scans are not made yet, optimizer.batch is 2 and "
        "needs their sizes: let jrsr-train prepare end, or use optimizer.batch=1"
    )
    one = tiny(tmp_path / "scans", tmp_path / "run", optimizer__batch=1)
    assert len(next(train_batches(one, *open_data(one), 0)).names) == 1
    list(make_all(tmp_path / "scans", manifest))
    assert None not in train_sizes(tmp_path / "scans", Manifest.read(tmp_path / "scans"))
