"""Streams of ISMRMRD v1: the pixels of `jrsr recon`, a header first, and no message for errors."""

import io
import os
import shutil
import subprocess
import sys
import threading

import h5py
import numpy as np
import pytest

from gadget.errors import Exit, UsageError
from gadget.settings import Settings
from gadget.stream.run import reconstruct_stream
from jrsr_core.mrd.live.live_scan import Task
from tests.helpers import layouts, messages
from tests.helpers.commands import jrsr
from tests.helpers.peer import CHEAP, PATIENCE, environment
from tests.helpers.processes import run_process
from tests.helpers.served_scans import assert_images

SETTINGS = Settings(**CHEAP, trigger="measurement")


def answer_of(data: bytes) -> tuple[bytes, layouts.Answer]:
    """The header with which an output begins, and the messages behind it."""
    stream = io.BytesIO(data)
    assert stream.read(2) == layouts.u16(layouts.HEADER)
    header = stream.read(int.from_bytes(stream.read(4), "little"))

    def read(n: int) -> bytes:
        part = stream.read(n)
        if len(part) < n:
            raise EOFError
        return part

    answer = layouts.Answer()
    try:
        layouts.receive(read, answer)
    except EOFError:
        pass
    return header, answer


def stream(folder, *parts: bytes) -> tuple[Exit, bytes]:
    """Exit code and output of a stream that comes from a file and goes into one."""
    source, target = folder / "in.bin", folder / "out.bin"
    source.write_bytes(b"".join(parts))
    code = reconstruct_stream(SETTINGS, str(source), str(target), overwrite=True)
    return code, target.read_bytes() if target.exists() else b""


def test_the_pixels_are_those_of_the_file(scan, tmp_path):
    xml = scan.header.xml
    code, data = stream(tmp_path, layouts.header(xml), *scan.lines_alone)
    header, answer = answer_of(data)
    assert code == Exit.DONE and answer.is_closed
    assert header == xml.encode()
    assert not answer.texts and not answer.errors
    assert_images(answer.images, scan.expected())


def test_a_configuration_before_the_header_is_not_used(scan, tmp_path):
    first = [layouts.config_file("default.xml"), layouts.config("<configuration/>")]
    code, data = stream(tmp_path, *first, layouts.header(scan.header.xml), *scan.lines_alone)
    assert code == Exit.DONE
    assert_images(answer_of(data)[1].images, scan.expected())


def test_what_is_not_used_passes_by(scan, tmp_path):
    wave = layouts.waveform(np.arange(6, dtype="<u4").reshape(2, 3))
    array = layouts.u16(layouts.ARRAY) + np.array([7, 1, 2], "<u2").tobytes() + layouts.u64(2, 3)
    array += np.arange(6, dtype="<c8").tobytes()
    image = layouts.image(messages.pixels())
    others = [layouts.text("hello"), wave, array, image]
    code, data = stream(tmp_path, layouts.header(scan.header.xml), *others, *scan.lines_alone)
    assert code == Exit.DONE
    assert wave in data and array in data and image in data
    assert b"hello" not in data


def test_an_input_that_is_cut_off_fails_and_leaves_no_file(scan, tmp_path, caplog):
    code, data = stream(tmp_path, layouts.header(scan.header.xml), *scan.lines_alone[:-1])
    assert code == Exit.FAILED and data == b""
    assert "input is cut off" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["in.bin"]


def test_a_scan_that_is_declined_says_why(scan, tmp_path, caplog):
    xml = scan.header.xml.replace("cartesian", "spiral")
    code, data = stream(tmp_path, layouts.header(xml), *scan.lines_alone)
    assert code == Exit.DECLINED and data == b""
    assert "spiral" in caplog.text and "Traceback" not in caplog.text


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "input is empty"),
        (b"\x89HDF\r\n\x1a\n", "jrsr recon"),
        (b"\x1f\x8b\x08\0\0", "gunzip"),
    ],
)
def test_what_is_no_stream_is_named(tmp_path, data, words):
    with pytest.raises(UsageError, match=words):
        stream(tmp_path, data)


def test_another_first_message_is_named(tmp_path, capfd):
    (tmp_path / "in.bin").write_bytes(layouts.text("hello"))
    done = jrsr(capfd, "stream", "-i", tmp_path / "in.bin", "-o", tmp_path / "out.bin")
    assert done.code == Exit.FAILED
    assert "message id 5" in done.err and len(done.err.splitlines()) == 1
    assert not (tmp_path / "out.bin").exists()


def test_an_output_that_exists_stays(tmp_path, capfd):
    (tmp_path / "in.bin").write_bytes(b"")
    (tmp_path / "out.bin").write_bytes(b"mine")
    done = jrsr(capfd, "stream", "-i", tmp_path / "in.bin", "-o", tmp_path / "out.bin")
    assert done.code == Exit.DECLINED and "overwrite" in done.err
    assert (tmp_path / "out.bin").read_bytes() == b"mine"


def command(*arguments: object) -> list[str]:
    cheap = [f"--set={name}={value}" for name, value in CHEAP.items()]
    return [sys.executable, "-m", "gadget", "stream", *cheap, *map(str, arguments)]


def test_standard_input_and_output_carry_messages_alone(scan):
    data = b"".join([layouts.header(scan.header.xml), *scan.lines_alone])
    done = run_process(command("-v"), input=data, env=environment())
    assert done.returncode == Exit.DONE, done.stderr
    assert_images(answer_of(done.stdout)[1].images, scan.expected())
    assert b"2 images" in done.stderr


def test_named_pipes(scan, tmp_path):
    incoming, outgoing = tmp_path / "in", tmp_path / "out"
    os.mkfifo(incoming)
    os.mkfifo(outgoing)
    data = b"".join([layouts.header(scan.header.xml), *scan.lines_alone])
    codes = []

    def run() -> None:
        paths = str(incoming), str(outgoing)
        codes.append(reconstruct_stream(SETTINGS, *paths, overwrite=False))

    sender = threading.Thread(target=lambda: incoming.write_bytes(data))
    threads = [threading.Thread(target=run), sender]
    for thread in threads:
        thread.start()
    received = outgoing.read_bytes()
    for thread in threads:
        thread.join(PATIENCE)
    assert codes == [Exit.DONE]
    assert_images(answer_of(received)[1].images, scan.expected())


def test_a_reader_that_has_gone_ends_the_command(scan):
    process = subprocess.Popen(
        command(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    process.stdout.close()
    process.stdin.write(layouts.header(scan.header.xml))
    process.stdin.close()
    words = process.stderr.read().decode()
    assert process.wait(PATIENCE) == Exit.FAILED
    assert "the reader has disconnected" in words and "Traceback" not in words


@pytest.mark.skipif(
    not (shutil.which("ismrmrd_hdf5_to_stream") and shutil.which("ismrmrd_stream_to_hdf5")),
    reason="the tools of ISMRMRD 1.13 and newer for streams are not installed",
)
def test_between_the_tools_of_ismrmrd(scan, tmp_path):
    out, as_bytes = tmp_path / "images.h5", {"check": True, "text": False}
    data = run_process(
        ["ismrmrd_hdf5_to_stream", "-i", str(scan.path), "--use-stdout"],
        **as_bytes,
    ).stdout
    images = run_process(command(), input=data, env=environment(), **as_bytes).stdout
    run_process(["ismrmrd_stream_to_hdf5", "--use-stdin", "-o", str(out)], input=images, **as_bytes)
    with h5py.File(out) as file:
        pixels = file["dataset/image_1/data"][()]
    assert [p.tobytes() for p in pixels] == [p for _, p in scan.expected()]


def test_a_stream_without_one_image_is_complete(scan, tmp_path, monkeypatch):
    """Not even a fallback image: the others are a stream with an end, and the code says it."""
    assemble = Task.assemble

    def fail(task):
        if task.counters.slice == 1:
            raise RuntimeError("injected")
        return assemble(task)

    monkeypatch.setattr(Task, "assemble", fail)
    code, data = stream(tmp_path, layouts.header(scan.header.xml), *scan.lines_alone)
    _, answer = answer_of(data)
    assert code == Exit.FALLBACK and answer.is_closed and len(answer.images) == 1
