"""Training and evaluation scan with one mask, and the card states its calibration lines."""

import pytest
import torch

from jrsr_core.physics.fourier import fft2c
from jrsr_core.simulation.coils import random_coils
from jrsr_core.simulation.phantoms import brain_phantom
from jrsr_core.simulation.protocols import PROTOCOLS
from jrsr_core.weights.card import WeightsCard
from tests.training.conftest import tiny
from training.data import acquire
from training.data.manifest import Acquisition
from training.data.n_acs import fitting_acs
from training.data.prepare import make_all, open_folder
from training.data.testset import scan_test_image
from training.evaluation.export import describe_data, export
from training.runs import fit

from .test_sources import write_fastmri


@pytest.mark.parametrize(
    ("protocol", "lr_shape", "expected"),
    [
        ("brain-5x", (116, 128), 24),
        ("brain-5x", (80, 72), 24),
        ("brain-5x", (64, 64), 19),
        ("brain-5x", (32, 36), 9),
        ("wall-16x", (116, 128), 24),
        ("wall-16x", (168, 140), 24),
        ("wall-16x", (64, 64), 22),
        ("wall-16x", (32, 36), 12),
    ],
)
def test_the_number_of_lines(protocol, lr_shape, expected):
    assert fitting_acs(PROTOCOLS[protocol], lr_shape) == expected


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
@pytest.mark.parametrize("shape", [(64, 72), (96, 96), (128, 128), (232, 256)])
def test_one_mask_for_training_and_test(protocol, shape):
    image = brain_phantom(shape)
    acquired = acquire._acquire(image, Acquisition(protocol), torch.Generator().manual_seed(0))
    assert torch.equal(acquired.mask, scan_test_image(image, protocol, 1).mask)


@pytest.mark.parametrize(("protocol", "n_acs"), [("brain-5x", 9), ("wall-16x", 12)])
def test_the_card_states_the_lines_of_the_scans(fixed_batch, tmp_path, protocol, n_acs):
    fit(tiny(fixed_batch(protocol), tmp_path, steps=1))
    found = WeightsCard.read(export(tmp_path, tmp_path / "weights")).range
    assert (found["n_acs"], found["n_coils"]) == ((n_acs, n_acs), (4, 4))
    assert found["noise_db"] == (30.0, 30.0)


def test_measured_kspace_has_its_own_noise_and_coils(tmp_path):
    for name, n_coils, shape in (("a", 4, (64, 72)), ("b", 6, (96, 72))):
        csm = random_coils(n_coils, shape, torch.Generator().manual_seed(0))
        noise = 1e-3 * torch.randn(n_coils, *shape, dtype=torch.complex64)
        write_fastmri(tmp_path / f"{name}_train.h5", fft2c(csm * brain_phantom(shape)) + noise, 72)
        # write_fastmri gives all of its files one patient: both are of the split train.
    folder = tmp_path / "scans"
    manifest = open_folder([tmp_path], folder, Acquisition("brain-5x"))
    _, before = describe_data(manifest, folder)
    assert not {"noise_db", "n_coils", "n_acs"} & before.keys(), "no scan is made yet"
    list(make_all(folder, manifest))
    _, ranges = describe_data(manifest, folder)
    assert "noise_db" not in ranges
    assert (ranges["n_coils"], ranges["n_acs"]) == ([4, 6], [9, 14])
    assert ranges["acceleration"] == [2.5, 2.5]
