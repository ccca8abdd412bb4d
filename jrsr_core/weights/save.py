"""Writing the weights of a model, in one file or in shards with an index, and their card."""

import json
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors.torch import save as save_bytes
from torch import Tensor, nn

from jrsr_core.common.atomic import write_together
from jrsr_core.common.validation import one_line
from jrsr_core.models.registry import architecture
from jrsr_core.models.variants import variant_of

from .card import INDEX_SUFFIX, CardError, WeightsCard, hash_of

SHARD_BYTES = 15 << 20
"""Largest sum of the tensors of a file; with its header a file stays below 16 MiB."""


def split_tensors(tensors: dict[str, Tensor], limit: int) -> list[dict[str, Tensor]]:
    """Return tensors in groups of at most `limit` bytes, in their order.

    Raises
    ------
    ValueError
        A tensor that is larger than the limit alone.
    """
    groups: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in tensors.items():
        if tensor.nbytes > limit:
            raise ValueError(f"tensor {name!r} has {tensor.nbytes} bytes, a file {limit} at most")
        if size + tensor.nbytes > limit:
            groups.append({})
            size = 0
        groups[-1][name] = tensor
        size += tensor.nbytes
    return groups


def _shards(groups: list[dict[str, Tensor]], stem: str) -> tuple[str, str, dict[str, bytes]]:
    """Return the name of the single file or of the index, the hash, and all files by name."""
    contents = [save_bytes(group) for group in groups]
    if len(groups) == 1:
        names, main = [f"{stem}.safetensors"], f"{stem}.safetensors"
    else:
        numbers = range(1, len(groups) + 1)
        names = [f"{stem}-{i:05d}-of-{len(groups):05d}.safetensors" for i in numbers]
        main = f"{stem}{INDEX_SUFFIX}"
    files = dict(zip(names, contents, strict=True))
    if len(groups) > 1:
        index = {key: name for name, group in zip(names, groups, strict=True) for key in group}
        total = sum(t.nbytes for group in groups for t in group.values())
        text = json.dumps({"metadata": {"total_size": total}, "weight_map": index}, indent=1)
        files[main] = text.encode()
    return main, hash_of(contents), files


def save_weights(
    model: nn.Module,
    folder: Path,
    name: str,
    preset: str,
    *,
    shard_bytes: int = SHARD_BYTES,
    **fields: Any,
) -> Path:
    """Write ``<name>_<preset>.safetensors`` (float16) and its card; return the path of the card.

    Weights above `shard_bytes` are written as ``<name>_<preset>-00001-of-0000N.safetensors`` with
    an index. `fields` are further fields of the `WeightsCard`. Weights and card of the same name
    are replaced together.

    Raises
    ------
    CardError
        A field that a card cannot have, such as a description of several lines.
    OSError
        The folder cannot be written, or its disk is full; what it held is untouched.
    """
    stem = f"{name}_{preset}"
    state = {k: v.detach().to(torch.float16).contiguous() for k, v in model.state_dict().items()}
    groups = [state] if _fits(state, shard_bytes) else split_tensors(state, shard_bytes)
    file, sha256, contents = _shards(groups, stem)
    try:
        card = WeightsCard(
            model=name,
            preset=preset,
            file=file,
            sha256=sha256,
            architecture=json.loads(json.dumps(architecture(name, preset, variant_of(model)))),
            **fields,
        )
    except ValidationError as error:
        raise CardError(f"{file}: card not written, {one_line(error, WeightsCard)}") from None
    path = folder / f"{stem}.json"
    folder.mkdir(parents=True, exist_ok=True)
    write_together({folder / k: v for k, v in contents.items()} | {path: card.content()})
    for old in folder.glob(f"{stem}-*-of-*.safetensors"):
        if old.name not in card.files(folder):
            old.unlink()  # Of other weights that had the same name.
    return path


def _fits(state: dict[str, Tensor], limit: int) -> bool:
    return sum(tensor.nbytes for tensor in state.values()) <= limit
