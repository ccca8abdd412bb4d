"""Trunks: shapes, frozen, weights of a checked local file only."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import conv2d

from jrsr_core.metrics.trunk_files import tensors_sha256
from jrsr_core.metrics.trunks import TRUNKS, Trunk, TrunkError, load_trunk
from tests.helpers.paths import SHARED
from tests.helpers.trunks import random_trunk

SQUEEZENET = SHARED / "weights" / "squeezenet.safetensors"


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", sorted(TRUNKS))
def test_every_layer_comes_out_down_to_the_least_size(name):
    trunk, size = random_trunk(name), TRUNKS[name].min_size
    features = trunk(torch.rand(2, size, size + 3))
    assert list(features) == list(TRUNKS[name].layers)
    assert all(f.shape[0] == 2 and f.numel() > 0 for f in features.values())
    with pytest.raises(TrunkError, match=f"takes {size} pixels or more, image is {size - 1}x"):
        trunk(torch.rand(1, size - 1, size))


def test_vgg19_layer_is_before_its_relu_and_the_rest_is_not_built():
    trunk = random_trunk("vgg19", layers=("conv2_2",))
    assert len(trunk.features) == 8
    assert float(trunk(torch.rand(1, 16, 16))["conv2_2"].min()) < 0


def test_trunk_is_frozen_but_lets_gradients_through():
    trunk = random_trunk("squeezenet", layers=("fire2",)).train()
    assert not trunk.training
    x = torch.rand(1, 40, 40, requires_grad=True)
    trunk(x)["fire2"].sum().backward()
    assert float(x.grad.abs().max()) > 0
    assert all(p.grad is None for p in trunk.parameters())


def test_random_trunk_repeats():
    x = torch.rand(1, 32, 32)
    a, b, c = (random_trunk("vgg19", s, layers=("conv1_2",))(x)["conv1_2"] for s in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


@pytest.fixture(scope="module")
def vgg_file(tmp_path_factory):
    tensors = {f"features.{k}": v for k, v in _small_vgg().items()}
    path = tmp_path_factory.mktemp("trunk") / "vgg.safetensors"
    save_file(tensors, path)
    return path


def _small_vgg():
    return random_trunk("vgg19", 3, layers=("conv2_2",)).features.state_dict()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_come_back(vgg_file, tmp_path, suffix):
    path = vgg_file
    if suffix == ".pth":
        path = tmp_path / "vgg.pth"
        torch.save({f"features.{k}": v for k, v in _small_vgg().items()}, path)
    x = torch.rand(1, 32, 32)
    loaded = load_trunk("vgg19", path, digest(path), layers=("conv2_2",))(x)["conv2_2"]
    assert torch.equal(loaded, random_trunk("vgg19", 3, layers=("conv2_2",))(x)["conv2_2"])


def test_what_must_not_be_used_is_refused_in_one_line(vgg_file, tmp_path):
    good = digest(vgg_file)
    with pytest.raises(TrunkError, match="never downloaded"):
        load_trunk("vgg19", tmp_path / "none.pth")
    with pytest.raises(TrunkError, match=r"sha256 is .*, expected dcbb9e9d"):
        load_trunk("vgg19", vgg_file)
    with pytest.raises(TrunkError, match="fewer than 8 digits"):
        load_trunk("vgg19", vgg_file, "ab")
    with pytest.raises(TrunkError, match=r"needs 10.weight \(256, 128, 3, 3\), file has None"):
        load_trunk("vgg19", vgg_file, good)
    with pytest.raises(TrunkError, match=r"alexnet needs 0.weight .*file has \(64, 3, 3, 3\)"):
        load_trunk("alexnet", vgg_file, good)
    with pytest.raises(TrunkError, match="unknown trunk 'vgg'"):
        load_trunk("vgg", vgg_file)
    with pytest.raises(TrunkError, match="no layer 'relu1'"):
        Trunk("vgg19", ("relu1",))


def test_hash_of_tensors_is_that_of_their_content():
    a, b = torch.rand(2, 3), torch.rand(3)
    digest_ = tensors_sha256({"a": a, "b": b})
    assert tensors_sha256({"b": b.double(), "a": a.T.contiguous().T}) == digest_
    others = [{"a": a}, {"a": a, "c": b}, {"a": a.reshape(3, 2), "b": b}, {"a": a, "b": b + 1e-6}]
    assert digest_ not in [tensors_sha256(other) for other in others]


@pytest.fixture
def alexnet(monkeypatch):
    """Tensors of an AlexNet, by torchvision's keys, that count as the published ones."""
    tensors = random_trunk("alexnet", 5).features.state_dict()
    published = replace(TRUNKS["alexnet"], tensors_sha256=tensors_sha256(tensors))
    monkeypatch.setitem(TRUNKS, "alexnet", published)
    return {f"features.{key}": value for key, value in tensors.items()}


def test_published_tensors_are_known_in_another_file(alexnet, tmp_path):
    # Of the 233 MB that torchvision publishes the convolutions are 10; any writer will do.
    path = tmp_path / "alexnet.safetensors"
    save_file({"classifier.6.bias": torch.zeros(1000), **alexnet}, path, {"by": "someone"})
    loaded = load_trunk("alexnet", path, layers=("relu2",))
    x = torch.rand(1, 40, 40)
    expected = random_trunk("alexnet", 5, layers=("relu2",))(x)["relu2"]
    assert torch.equal(loaded(x)["relu2"], expected)


def test_other_tensors_are_refused_even_where_the_layers_wanted_are_the_same(alexnet, tmp_path):
    path = tmp_path / "alexnet.safetensors"
    save_file({**alexnet, "features.10.bias": alexnet["features.10.bias"] + 1e-6}, path)
    with pytest.raises(TrunkError, match=r"^tensors of alexnet.safetensors: sha256 is"):
        load_trunk("alexnet", path, layers=("relu1",))
    del alexnet["features.8.weight"]
    save_file(alexnet, path)
    with pytest.raises(TrunkError, match=r"alexnet needs 8.weight .*, file has None"):
        load_trunk("alexnet", path, layers=("relu1",))
    with pytest.raises(TrunkError, match="expected abcdef01"):
        load_trunk("alexnet", path, "abcdef0123")
    path.write_bytes(b"not safetensors")
    with pytest.raises(TrunkError, match="not readable as weights"):
        load_trunk("alexnet", path)


class _Evil:
    def __reduce__(self):
        return (Path.touch, (Path("evil-was-here"),))


def test_a_pickle_with_code_is_refused_even_with_the_right_hash(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pth"
    torch.save({"features.0.weight": _Evil()}, path)
    with pytest.raises(TrunkError, match=r"evil.pth: not readable as weights"):
        load_trunk("vgg19", path, digest(path))
    assert not (tmp_path / "evil-was-here").exists()


def test_squeezenet_pools_like_torchvision():
    # Its pooling rounds sizes up: 40 pixels are 19, 9, 4 and 2.
    features = random_trunk("squeezenet")(torch.rand(1, 40, 40))
    sizes = [features[layer].shape[-1] for layer in ("conv1", "fire3", "fire5", "fire9")]
    assert sizes == [19, 9, 4, 2]


@pytest.mark.data
@pytest.mark.skipif(not SQUEEZENET.exists(), reason="needs ../shared/weights")
def test_squeezenet_has_learned_to_see():
    # A pre-trained trunk tells a sharp image from a blurred one more than from a brighter one.
    trunk = load_trunk("squeezenet", SQUEEZENET, layers=("fire5",))
    yy, xx = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    sharp = ((xx // 6 + yy // 6) % 2 * 0.8)[None]
    blurred = torch.nn.functional.avg_pool2d(sharp, 7, 1, 3)
    f = trunk(torch.cat((sharp, blurred, sharp * 0.9)))["fire5"]
    assert float((f[0] - f[1]).abs().mean()) > 3 * float((f[0] - f[2]).abs().mean())
    assert trunk.features.state_dict()["0.weight"].abs().max() > 0.1


@pytest.mark.data
def test_vgg16_of_its_authors_is_known_by_its_hash_and_takes_bytes_minus_the_mean():
    path = SHARED / "weights" / "vgg16_caffe_fp16.safetensors"
    if not path.exists():
        pytest.skip("needs ../shared/weights")
    trunk = load_trunk("vgg16", path, layers=("conv1_2",))
    image = torch.rand(1, 24, 24)
    tensors = {k.removeprefix("features."): v.float() for k, v in load_file(path).items()}
    bgr = 255 * image[:, None].expand(-1, 3, -1, -1)
    bgr = bgr - torch.tensor([103.939, 116.779, 123.68])[:, None, None]
    x = torch.relu(conv2d(bgr, tensors["0.weight"], tensors["0.bias"], padding=1))
    expected = conv2d(x, tensors["2.weight"], tensors["2.bias"], padding=1)
    assert torch.allclose(trunk(image)["conv1_2"], expected, rtol=1e-3, atol=1e-2)
