"""Weights of trunks from local files, identified by their hash and never downloaded.

Files are those of torchvision (.pth, restricted to tensors), or safetensors with the same keys.
"""

import hashlib
import io
from pathlib import Path

import torch
from safetensors.torch import load as load_safetensors
from torch import Tensor

from .trunk_networks import TrunkError, trunk_spec


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise TrunkError(f"{path}: no such file (trunk weights are never downloaded)")
    return path.read_bytes()


def _check(name: str, digest: str, sha256: str) -> None:
    if len(sha256) < 8:
        raise TrunkError(f"{name}: sha256 {sha256!r} has fewer than 8 digits")
    if not digest.startswith(sha256.lower()):
        raise TrunkError(f"{name}: sha256 is {digest[:16]}..., expected {sha256[:16]}...")


def _parse(path: Path, content: bytes) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_safetensors(content)
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise TrunkError(f"{path.name}: not readable as weights ({reason})") from error


def read_tensors(path: Path, sha256: str) -> dict[str, Tensor]:
    """Return the tensors of a file whose sha256 begins with `sha256` (8 digits or more).

    The .pth files that torchvision and LPIPS publish are pickles: their hash is checked first and
    the restricted reader accepts nothing but tensors.

    Raises
    ------
    TrunkError
        No such file, too short a hash, another hash, or no weights.
    """
    content = _read(path)
    _check(path.name, hashlib.sha256(content).hexdigest(), sha256)
    return _parse(path, content)


def tensors_sha256(tensors: dict[str, Tensor]) -> str:
    """Return the sha256 of names, shapes and float32 values, whatever file they come from."""
    digest = hashlib.sha256()
    for key in sorted(tensors):
        value = tensors[key].float().contiguous()
        digest.update(f"{key} {tuple(value.shape)} ".encode())
        digest.update(value.numpy().astype("<f4").tobytes())
    return digest.hexdigest()


def _keys(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix("features."): value for key, value in tensors.items()}


def _select(where: str, tensors: dict[str, Tensor], like: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors that `like` has; `TrunkError` if one is missing or of another shape."""
    for key, value in like.items():
        found = tuple(tensors[key].shape) if key in tensors else None
        if found != tuple(value.shape):
            raise TrunkError(f"{where} needs {key} {tuple(value.shape)}, file has {found}")
    return {key: tensors[key].float() for key in like}


def read_trunk(
    name: str, path: Path, like: dict[str, Tensor], sha256: str | None = None
) -> dict[str, Tensor]:
    """Return the weights of the trunk `name` for those keys of its sequence that `like` has.

    Without `sha256` the file has to be the published one, or a safetensors file with its tensors.

    Raises
    ------
    TrunkError
        As `read_tensors`; a tensor is missing, of another shape or not the published one.
    """
    spec, where = trunk_spec(name), f"{path.name}: {name}"
    if sha256 is None and spec.tensors_sha256 and path.suffix == ".safetensors":
        tensors = _keys(_parse(path, _read(path)))
        tensors = _select(where, tensors, spec.build().state_dict())
        _check(f"tensors of {path.name}", tensors_sha256(tensors), spec.tensors_sha256)
    else:
        tensors = _keys(read_tensors(path, sha256 or spec.sha256))
    return _select(where, tensors, like)
