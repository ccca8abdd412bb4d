"""SqueezeNet distance and LPIPS: axioms, hand computation, refusal of other files."""

import pytest
import torch
from torch.nn.functional import interpolate

from jrsr_core.metrics.perceptual import (
    LPIPS_LAYERS,
    SQUEEZENET_LAYERS,
    UnitFeatureDistance,
    lpips,
    lpips_weights,
    squeezenet_distance,
)
from jrsr_core.metrics.trunks import TrunkError
from jrsr_core.simulation.phantoms import brain_phantom
from tests.helpers.paths import SHARED
from tests.helpers.trunks import random_trunk

WEIGHTS = SHARED / "weights"


@pytest.fixture
def images():
    """A truth, a slightly and a strongly blurred copy, ``(1, y, x)``."""
    truth = brain_phantom((72, 80))[None]

    def blurred(factor):
        small = interpolate(truth[None], scale_factor=1 / factor, mode="area")
        return interpolate(small, size=truth.shape[-2:], mode="bilinear")[0]

    return truth, blurred(2), blurred(4)


def of_random(name, layers, weight=1.0):
    trunk = random_trunk(name, layers=layers)
    return UnitFeatureDistance(trunk, dict.fromkeys(layers, torch.tensor(weight)))


@pytest.mark.parametrize(("name", "layers"), [("squeezenet", ("conv1",)), ("alexnet", ("relu1",))])
def test_zero_for_the_truth_and_larger_for_what_is_worse(name, layers, images):
    truth, near, far = images
    distance = of_random(name, layers)
    assert float(distance(truth, truth)) == 0
    assert 0 < float(distance(near, truth)) < float(distance(far, truth))


def test_does_not_depend_on_the_scale_and_counts_every_slice(images):
    truth, near, far = images
    distance = of_random("squeezenet", SQUEEZENET_LAYERS)
    one = distance(near, truth)
    assert torch.allclose(distance(100 * near, 100 * truth), one, rtol=1e-4)
    both = distance(torch.cat((near, far)), torch.cat((truth, truth)))
    assert torch.allclose(both, torch.cat((one, distance(far, truth))), rtol=1e-4)
    with pytest.raises(ValueError, match=r"image is .* target is"):
        distance(near[..., 1:], truth)


def test_equals_a_direct_computation(images):
    truth, near, _ = images
    trunk = random_trunk("alexnet", layers=LPIPS_LAYERS)
    widths = zip(LPIPS_LAYERS, (64, 192, 384, 256, 256), strict=True)
    weights = {layer: torch.rand(n, 1, 1) for layer, n in widths}
    ours = UnitFeatureDistance(trunk, weights)(near, truth)
    peak, total = truth.max(), 0.0
    a, b = (trunk((x / peak).clamp(0, 1)) for x in (near, truth))
    for layer, weight in weights.items():
        u, v = (f[layer][0] / f[layer][0].norm(dim=0).clamp_min(1e-10) for f in (a, b))
        total += float((weight * (u - v) ** 2).sum(0).mean())
    assert float(ours) == pytest.approx(total, rel=1e-4)


def test_lpips_expects_the_scaling_of_its_authors():
    # They shift by -0.030, -0.088, -0.188 and divide by 0.458, 0.448, 0.450 on [-1, 1].
    trunk = random_trunk("alexnet", layers=("relu1",))
    x = 0.3
    ours = (x - trunk.mean.flatten()) / trunk.std.flatten()
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    assert torch.allclose(ours, (2 * x - 1 - shift) / scale, atol=1e-5)


def test_missing_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(TrunkError, match="no such file"):
        squeezenet_distance(tmp_path / "none.pth")
    file = tmp_path / "alexnet.pth"
    file.write_bytes(b"weights")
    with pytest.raises(TrunkError, match=r"sha256 is .* expected 7be5be79"):
        lpips(file, file)
    with pytest.raises(TrunkError, match=r"sha256 is .* expected df73285e"):
        lpips_weights(file)


@pytest.mark.data
@pytest.mark.skipif(not WEIGHTS.is_dir(), reason="needs ../shared/weights")
def test_published_weights(images):
    truth, near, far = images
    distance = squeezenet_distance(WEIGHTS / "squeezenet.safetensors")
    assert 0 < float(distance(near, truth)) < float(distance(far, truth))
    weights = lpips_weights(WEIGHTS / "alex.pth")
    assert [w.shape[0] for w in weights.values()] == [64, 192, 384, 256, 256]
    assert all(bool((w >= 0).all()) for w in weights.values())
