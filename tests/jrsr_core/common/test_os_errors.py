"""Errors of the operating system are said in plain words, with the file and without a number."""

import os
import socket
from pathlib import Path

import h5py
import pytest

from jrsr_core.common.os_errors import REASONS, plain_os_error, reason


def raised(action):
    with pytest.raises(OSError) as caught:
        action()
    return plain_os_error(caught.value)


def test_errors_of_the_system(tmp_path):
    file = tmp_path / "file"
    file.touch()
    missing = tmp_path / "no" / "x"
    assert raised(missing.read_bytes) == f"{missing}: no such file or folder"
    assert raised(tmp_path.read_bytes) == f"{tmp_path}: is a folder, expected a file"
    assert raised(file.mkdir) == f"{file}: exists already"
    assert raised((file / "x").read_bytes).startswith(f"{file}/x: is a file")
    assert raised(lambda: (tmp_path / ("n" * 300)).touch()).endswith(": the name is too long")
    assert raised(lambda: file.rename(missing)) == f"{file} -> {missing}: no such file or folder"
    with Path("/dev/full").open("wb", buffering=0) as full:
        assert raised(lambda: full.write(b"x")) == "no space left on the disk"


def test_errors_of_the_hdf5_library(tmp_path):
    missing = tmp_path / "no.h5"
    assert raised(lambda: h5py.File(missing, "r")) == f"{missing}: no such file or folder"


def test_errors_of_the_network():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
        refused = raised(lambda: socket.create_connection(address, 5))
        assert refused == "no server listens there"
        # The library adds the address to the text of the system here.
        in_use = raised(lambda: socket.create_server(address))
        assert in_use == "another program uses this port"


def test_other_texts_stay():
    assert plain_os_error(OSError("scan.h5: truncated")) == "scan.h5: truncated"
    assert plain_os_error(OSError(71, "Protocol error", "x")) == "x: Protocol error"
    assert plain_os_error(FileNotFoundError(2, "No such file", b"\xff.h5")) != ""
    assert reason(TimeoutError("timed out")) == "timed out"


def test_no_reason_is_the_text_of_the_system():
    for number, text in REASONS.items():
        assert text != os.strerror(abs(number)) and text[0].islower()
