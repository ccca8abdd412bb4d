"""A network of the user stays as it is: mode, device, setting; what it returns is checked."""

import re
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import torch
from torch import nn

from jrsr_core.data import KSpaceSlice, SliceGeometry
from jrsr_core.models.interfaces import JointModel, ModelOutput, ReconModel
from jrsr_core.models.registry import build_model
from jrsr_core.reconstruction import load
from jrsr_core.reconstruction.load import load_model
from tests.helpers.processes import PATIENCE
from tests.helpers.synthetic import line_mask, scan

SHAPE = (48, 64)
WHERE = SliceGeometry.axial((5.0, 200.0, 200.0))


@pytest.fixture(scope="module")
def slice_():
    kspace, _, _, std = scan(6, SHAPE, snr_db=25.0)
    return KSpaceSlice.from_array(kspace, line_mask(SHAPE, 2.0), geometry=WHERE, noise_std=std)


class Own(nn.Module):
    """Magnitude of the nearest neighbour times a gain; in training mode with a dropout."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))
        self.dropout, self.frozen = nn.Dropout(0.9), nn.Identity().eval()
        self.modes = []

    def forward(self, image):
        self.modes.append((self.training, self.dropout.training, self.frozen.training))
        up = image.abs().repeat_interleave(2, -1).repeat_interleave(2, -2)
        return self.frozen(self.dropout(self.gain * up))


def modes(network):
    return [part.training for part in network.modules()]


def test_a_network_is_in_evaluation_mode_during_a_call_alone(slice_):
    network = Own()
    before = modes(network)
    assert before == [True, True, False]
    model = load_model(network, accept_contradictions=True)
    assert modes(network) == before
    first = model(slice_).image
    assert modes(network) == before and set(network.modes) == {(False, False, False)}
    assert torch.equal(model(slice_).image, first)
    # The weights of the training at the time of the call.
    with torch.no_grad():
        network.gain.fill_(2.0)
    torch.testing.assert_close(model(slice_).image, 2 * first)
    assert network.gain.requires_grad and model.model.upsample.module is network


def test_the_mode_is_as_before_after_an_error(slice_):
    network = Own()
    network.frozen.forward = lambda image: image[:, 1:]
    with pytest.raises(ValueError, match="Own returned"):
        load_model(network)(slice_)
    assert modes(network) == [True, True, False]


def test_two_reconstructors_of_one_network_keep_their_denoise(slice_):
    network = build_model("jrsr-dc", preset="tiny").eval()
    keeps = load_model(network, accept_contradictions=True)
    kept = keeps(slice_)
    removes = load_model(network, denoise=1.0, accept_contradictions=True)
    removed, again = removes(slice_), keeps(slice_)
    assert torch.equal(again.image, kept.image) and not torch.equal(removed.image, kept.image)
    assert [image.report.denoise for image in (kept, removed, again)] == [0.0, 1.0, 0.0]
    # Also where they compute at the same time.
    barrier = Barrier(2)

    def image_of(model):
        barrier.wait(PATIENCE)
        return model(slice_).image

    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(image_of, (keeps, removes)))
    assert torch.equal(both[0], kept.image) and torch.equal(both[1], removed.image)


def test_a_network_stays_on_its_device(monkeypatch):
    """A device without memory stands for a GPU."""
    network = Own()
    monkeypatch.setattr(load, "pick_device", torch.device)
    assert load_model(network).device.type == "cpu"
    there = load_model(network, device="meta")
    assert {p.device.type for p in there.model.parameters()} == {"meta"}
    assert network.gain.device.type == "cpu"
    assert load_model(network, device="cpu").model.upsample.module is network


def test_a_size_is_for_named_systems_with_weights():
    with pytest.raises(ValueError, match=r"^preset is 'compact', but Own has a size of its own$"):
        load_model(Own(), preset="compact")
    for system in ("cg-sense+sinc", "zero-filled+bicubic", "cg-sense+sinc+dc"):
        for preset in ("paper", "nonsense"):
            text = rf"^preset is '{preset}', but .* has no weights and a single size$"
            with pytest.raises(ValueError, match=text):
                load_model(system, preset=preset)
        load_model(system, preset="largest")


class OwnRecon(ReconModel):
    """Returns what `made` makes of the zero-filled image."""

    def __init__(self, made):
        super().__init__()
        self.made = made

    def forward(self, kspace, sense, noise_std=None):
        return self.made(sense.adjoint(kspace))


class OwnJoint(JointModel):
    """The zero-filled image on both grids, changed by `hr` and `lr`."""

    def __init__(self, hr=lambda x: x, lr=lambda x: x):
        super().__init__()
        self.hr, self.lr = hr, lr

    def forward(self, kspace, sense, noise_std=None):
        low = sense.at_low_resolution().adjoint(sense.low_resolution_kspace(kspace))
        return ModelOutput(self.hr(sense.adjoint(kspace)), self.lr(low))


KSPACE = "(1, 6, 48, 64)"


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            OwnRecon(lambda x: x[0]),
            f"OwnRecon returned (48, 64) for {KSPACE}, expected (1, 48, 64)",
        ),
        (OwnRecon(lambda x: x[:, None]), f"OwnRecon returned (1, 1, 48, 64) for {KSPACE}, exp"),
        (OwnRecon(lambda x: x.numpy()), f"OwnRecon returned ndarray for {KSPACE}, expected"),
        (
            OwnJoint(hr=lambda x: x[0]),
            f"OwnJoint returned (96, 128) for {KSPACE}, expected (1, 96,",
        ),
        (OwnJoint(lr=lambda x: x[0]), f"OwnJoint returned (48, 64) for {KSPACE}, expected (1, 48,"),
    ],
)
def test_images_of_another_shape_are_named(network, message, slice_):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}") as caught:
        load_model(network, accept_contradictions=True)(slice_)
    assert "\n" not in str(caught.value)


def test_images_of_the_right_shape_are_taken(slice_):
    for network in (OwnRecon(lambda x: x), OwnJoint()):
        image = load_model(network, accept_contradictions=True)(slice_)
        assert image.image.shape == (96, 128) and image.low_resolution.shape == SHAPE
