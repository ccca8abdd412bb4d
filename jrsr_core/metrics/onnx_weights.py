"""Weights of an ONNX file: its initialisers, read without the package onnx.

An ONNX file is a protocol buffer. Only these fields are read: model.graph (7), graph.initializer
(5), tensor.dims (1), tensor.data_type (2), tensor.name (8), tensor.raw_data (9).
"""

from collections.abc import Iterator

import torch
from torch import Tensor

_DTYPES = {1: torch.float32, 10: torch.float16}
_GRAPH, _INITIALIZER = 7, 5


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if not byte & 128:
            return value, at


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield field number and value of a message; fixed-size values as bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        wire = key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        size, at = _varint(data, at) if wire == 2 else ({1: 8, 5: 4}[wire], at)
        if at + size > len(data):
            raise IndexError(f"field {key >> 3} ends after the message")
        yield key >> 3, data[at : at + size]
        at += size


def _tensor(message: memoryview) -> tuple[str, Tensor]:
    name, dtype, raw = "", 0, b""
    dims: list[int] = []
    for number, value in _fields(message):
        # A list of dims comes as one integer per field or packed into bytes.
        if isinstance(value, int):
            if number == 1:
                dims.append(value)
            elif number == 2:
                dtype = value
        elif number == 1:
            dims.extend(_packed(value))
        elif number == 8:
            name = bytes(value).decode()
        elif number == 9:
            raw = bytes(value)
    flat = torch.frombuffer(bytearray(raw), dtype=_DTYPES[dtype])
    return name, flat.reshape(dims).to(torch.float32)


def _packed(data: memoryview) -> list[int]:
    values, at = [], 0
    while at < len(data):
        value, at = _varint(data, at)
        values.append(value)
    return values


def read_onnx_weights(content: bytes) -> dict[str, Tensor]:
    """Return the initialisers of an ONNX model as float32 tensors by name.

    Raises
    ------
    ValueError
        The bytes are not an ONNX model with float16 or float32 weights.
    """
    weights = {}
    try:
        for number, graph in _fields(memoryview(content)):
            if number == _GRAPH and isinstance(graph, memoryview):
                for part, value in _fields(graph):
                    if part == _INITIALIZER and isinstance(value, memoryview):
                        name, tensor = _tensor(value)
                        weights[name] = tensor
    except (IndexError, KeyError, TypeError, RuntimeError, UnicodeDecodeError) as error:
        raise ValueError(f"not an ONNX model with float weights ({error})") from error
    if not weights:
        raise ValueError("not an ONNX model with float weights (no initialiser)")
    return weights
