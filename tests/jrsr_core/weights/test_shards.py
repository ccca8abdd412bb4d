"""Weights in several files with an index: read as one, refused when one is not as stated."""

import hashlib
import json

import pytest
import torch

from jrsr_core.models.registry import build_model
from jrsr_core.weights.card import CardError, WeightsCard
from jrsr_core.weights.find import find_card
from jrsr_core.weights.load import load_weights
from jrsr_core.weights.save import SHARD_BYTES, save_weights, split_tensors
from jrsr_core.weights.sets import cards_in

LIMIT = 12_000


@pytest.fixture
def model():
    torch.manual_seed(2)
    return build_model("jrsr-dc", preset="tiny").eval()


def saved(model, folder, **fields):
    return save_weights(model, folder, "jrsr-dc", "tiny", **fields)


def test_shards_are_read_as_one_file_is(model, tmp_path):
    whole, _ = load_weights(saved(model, tmp_path / "one"))
    path = saved(model, tmp_path / "many", shard_bytes=LIMIT)
    parts, card = load_weights(path)
    files = sorted(p.name for p in (tmp_path / "many").iterdir())
    n = len(files) - 2
    assert n >= 3
    assert files == sorted(
        ["jrsr-dc_tiny.json", "jrsr-dc_tiny.safetensors.index.json"]
        + [f"jrsr-dc_tiny-{i:05d}-of-{n:05d}.safetensors" for i in range(1, n + 1)]
    )
    assert whole.state_dict().keys() == parts.state_dict().keys()
    assert all(torch.equal(v, parts.state_dict()[k]) for k, v in whole.state_dict().items())
    # The hash is that of all shards one after the other, as `cat *.safetensors | sha256sum` says.
    shards = sorted((tmp_path / "many").glob("*.safetensors"))
    assert card.sha256 == hashlib.sha256(b"".join(p.read_bytes() for p in shards)).hexdigest()
    assert [WeightsCard.read(p) for p in cards_in(tmp_path / "many")] == [card]
    assert find_card("jrsr-dc", "auto", tmp_path / "many") == path
    with pytest.raises(CardError, match=r"there are: jrsr-dc_tiny \("):
        find_card("jrsr", "auto", tmp_path / "many")


def test_one_file_where_it_suffices(model, tmp_path):
    card = WeightsCard.read(saved(model, tmp_path))
    assert card.file == "jrsr-dc_tiny.safetensors"
    assert card.sha256 == hashlib.sha256((tmp_path / card.file).read_bytes()).hexdigest()


def test_new_weights_take_the_old_shards_away(model, tmp_path):
    saved(model, tmp_path, shard_bytes=LIMIT)
    more = len(list(tmp_path.glob("*.safetensors")))
    saved(model, tmp_path, shard_bytes=3 * LIMIT)
    assert len(list(tmp_path.glob("*-of-*.safetensors"))) < more
    load_weights(tmp_path / "jrsr-dc_tiny.json")


@pytest.mark.parametrize("damage", ["missing", "changed", "exchanged", "elsewhere", "no index"])
def test_damaged_shards_are_refused(model, tmp_path, damage):
    path = saved(model, tmp_path, shard_bytes=LIMIT)
    index = tmp_path / "jrsr-dc_tiny.safetensors.index.json"
    first, second, *_ = sorted(tmp_path.glob("*.safetensors"))
    if damage == "missing":
        second.unlink()
    elif damage == "changed":
        second.write_bytes(second.read_bytes()[:-1] + b"\x01")
    elif damage == "exchanged":
        one, two = first.read_bytes(), second.read_bytes()
        first.write_bytes(two)
        second.write_bytes(one)
    elif damage == "elsewhere":
        values = json.loads(index.read_text())
        values["weight_map"]["a"] = "../a.safetensors"
        index.write_text(json.dumps(values))
    else:
        index.write_text("[]")
    wanted = {
        "missing": f"{second.name}: weights of jrsr-dc tiny are missing",
        "changed": "sha256 is",
        "exchanged": "sha256 is",
        "elsewhere": "must lie beside the index",
        "no index": "not an index of shards",
    }
    with pytest.raises(CardError, match=wanted[damage]):
        load_weights(path)


def test_paper_weights_fit_below_16_mib_each(tmp_path):
    # By sizes alone: half precision, as they are written.
    with torch.device("meta"):
        model = build_model("jrsr-dc", preset="paper")
    state = {k: v.to(torch.float16) for k, v in model.state_dict().items()}
    groups = split_tensors(state, SHARD_BYTES)
    sizes = [sum(t.nbytes for t in group.values()) for group in groups]
    assert sum(sizes) > 32e6 and len(groups) == 3
    assert all(size + 64 * 2**10 < 16 * 2**20 for size in sizes)
    assert [k for group in groups for k in group] == list(state)
    with pytest.raises(ValueError, match="a file 10 at most"):
        split_tensors(state, 10)
