"""What an image needs is known before anything is allocated for it."""

import io
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from gadget.scan.memory import MemoryCheck, image_memory
from gadget.server.protocol.memory import MemoryBudget
from gadget.server.protocol.messages import read_acquisition
from gadget.server.protocol.wire import WireLimits
from gadget.settings import Settings
from jrsr_core.common.cancellation import Cancelled, watched
from jrsr_core.mrd.errors import UnsupportedScan
from jrsr_core.mrd.header.scan_header import parse_header
from jrsr_core.mrd.lines.acquired import NOISE, REJECTED, flag_bits
from jrsr_core.mrd.live.live_scan import LiveScan
from tests.helpers import layouts
from tests.helpers.mrd_scans import small_scan

GIB = 2**30


def header_and_heads(matrix=(1, 16, 16), n_coils=1, n=1):
    _, _, xml, lines = small_scan((16, 16), n_coils=1)
    header = parse_header(xml)
    encoding = replace(header.encodings[0], encoding_matrix=matrix)
    heads = np.repeat(lines.heads[:1], n)
    heads["active_channels"], heads["flags"] = n_coils, 0
    return replace(header, encodings=(encoding,)), heads


@pytest.mark.parametrize(
    ("matrix", "n_coils", "least"),
    [
        # k-space alone, and the maps of 12 virtual coils on a grid of four times the pixels.
        ((1, 16384, 16384), 1, 8 * 2**28 + 4 * 8 * 2**28),
        ((1, 512, 512), 64, 8 * 64 * 2**18 + 4 * 8 * 12 * 2**18),
        ((256, 256, 256), 32, 8 * 12 * 2**24),
        # One line of 65535 samples and many coils, brought to the grid 128 at a time.
        ((1, 8, 65535), 64, 128 * 8 * 64 * 65535),
    ],
)
def test_an_image_needs_at_least_its_arrays(matrix, n_coils, least):
    header, _ = header_and_heads(matrix)
    encoding = replace(header.encodings[0], recon_fov_mm=header.encodings[0].encoding_fov_mm)
    assert least <= image_memory(encoding, n_coils, Settings()).total < 200 * least


def test_an_image_that_never_fits_is_declined_with_both_numbers():
    header, heads = header_and_heads((1, 16384, 16384), 4)
    with pytest.raises(UnsupportedScan) as caught:
        MemoryCheck(header, Settings(), 8 * GIB).add(heads)
    needed = image_memory(header.encodings[0], 4, Settings()).total
    assert "an image of 16384 x 16384 x 1 samples of 4 coils needs about" in str(caught.value)
    assert f"{needed / 2**20:.0f} MiB, 8192 MiB may be used" in str(caught.value)


def test_coils_and_axes_count_together():
    """Each of them is small enough by itself."""
    for matrix, n_coils in (((1, 1024, 1024), 4), ((1, 64, 64), 1024)):
        header, heads = header_and_heads(matrix, n_coils)
        assert MemoryCheck(header, Settings(), 8 * GIB).add(heads)
    header, heads = header_and_heads((1, 1024, 1024), 1024)
    with pytest.raises(UnsupportedScan, match="1024 coils"):
        MemoryCheck(header, Settings(), 8 * GIB).add(heads)


def test_only_lines_of_images_count():
    header, heads = header_and_heads((1, 16384, 16384))
    check = MemoryCheck(header, Settings(), GIB)
    for flag in REJECTED:
        heads["flags"] = flag_bits(flag)
        assert not check.add(heads)
    heads["flags"], heads["encoding_space_ref"] = 0, 7
    assert not check.add(heads), "the header lacks this encoding, which is another error"
    assert NOISE in REJECTED and check.largest.total == 0


def test_acs_that_leaves_no_room_for_an_image_is_declined_with_both_numbers():
    header, heads = header_and_heads((1, 256, 256), 32)
    check = MemoryCheck(header, Settings(), GIB)
    check.add(heads)
    needed = check.largest.total
    check.check_acs(GIB - needed)
    with pytest.raises(UnsupportedScan) as caught:
        check.check_acs(GIB - needed + 1)
    sizes = [f"{n / 2**20:.0f} MiB" for n in (GIB - needed + 1, needed, GIB)]
    assert f"takes {sizes[0]} and an image needs about {sizes[1]}, {sizes[2]} may be used" in str(
        caught.value
    )


def test_as_many_images_at_once_as_fit():
    header, heads = header_and_heads((1, 256, 256), 32)
    needed = image_memory(header.encodings[0], 32, Settings())
    for n in (1, 3, 8):
        check = MemoryCheck(header, Settings(), needed.of(n))
        assert check.add(heads) and not check.add(heads)
        assert check.images_at_once(8) == n


@pytest.fixture
def traced():
    yield tracemalloc
    tracemalloc.stop()


class Bytes:
    """A stream of bytes that are there already."""

    limits = WireLimits()

    def __init__(self, data):
        self._file = io.BytesIO(data)

    def read(self, n_bytes):
        return bytearray(self._file.read(n_bytes))


def test_lines_of_one_sample_are_counted_at_their_cost(traced):
    header, heads = header_and_heads(n=3000)
    heads["number_of_samples"] = 1
    heads["idx"]["kspace_encode_step_1"] = np.arange(len(heads)) % 16
    sent = [layouts.acquisition(head, np.ones((1, 1), "<c8"))[2:] for head in heads]
    scan = LiveScan(header, "measurement", None)
    traced.start()
    unread = [read_acquisition(Bytes(data)) for data in sent]
    assert traced.get_traced_memory()[0] < sum(item.n_bytes for item in unread)
    for item in unread:
        assert not list(scan.add(item.lines))
    assert traced.get_traced_memory()[0] < scan.n_bytes < 3000 * 3000


def test_samples_of_rejected_lines_are_not_kept(traced):
    header, heads = header_and_heads(n=50)
    heads["flags"], heads["number_of_samples"] = flag_bits(27), 2**16 - 1
    line = np.ones((1, 2**16 - 1), "<c8")
    sent = [layouts.acquisition(head, line)[2:] for head in heads]
    scan = LiveScan(header, "measurement", None)
    traced.start()
    for data in sent:
        assert not list(scan.add(read_acquisition(Bytes(data)).lines))
    assert traced.get_traced_memory()[0] < 4 * line.nbytes


def test_lines_leave_room_for_the_largest_image():
    memory = MemoryBudget(100)
    memory.expect(60)
    memory.expect(30)
    assert not memory.take(50) and memory.take(40)
    memory.forget(60)
    assert memory.take(30) and not memory.take(1)
    memory.forget(30)
    assert memory.take(30) and str(memory) == "100 of 100 bytes are in use"


def test_one_image_is_always_computed_and_others_wait():
    memory = MemoryBudget(100)
    memory.add(90)
    asked = []

    def check():
        asked.append(memory.n_image_bytes)
        if len(asked) == 3:
            raise Cancelled("gone")

    with memory.image(50), watched(check), pytest.raises(Cancelled), memory.image(20):
        raise AssertionError("there is no room")
    assert asked == [50] * 3 and memory.n_image_bytes == 0
    memory.add(-90)
    with memory.image(50), memory.image(50):
        assert memory.n_image_bytes == 100
