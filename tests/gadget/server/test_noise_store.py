"""A noise measurement is kept for the scans whose header names it."""

from dataclasses import replace

import numpy as np
import pytest

from gadget.server import noise_store
from gadget.server.noise_store import NoiseStore
from jrsr_core.mrd.lines.acquired import NOISE, has_flag
from jrsr_core.mrd.noise.measured import noise_of_scan
from tests.helpers import layouts
from tests.helpers.mrd_scans import select
from tests.helpers.peer import Peer, resident
from tests.helpers.served_scans import apart, assert_images, serve

NAME = "default_measurement_dependencies"


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    return serve(tmp_path_factory.mktemp("served"), slices=2)


@pytest.fixture(scope="module")
def parts(scan):
    return apart(scan)


def exchange(port, config, xml, messages):
    peer = Peer.to(port).send(layouts.config_file(config), layouts.header(xml))
    peer.send_meanwhile(*messages, layouts.close())
    return peer.finish()


@pytest.mark.parametrize("ending", ["", "_ismrmrd_storage.xml"])
def test_a_later_scan_is_whitened_as_if_it_had_the_noise_lines(ending, scan, parts):
    noise, image, xml = parts
    with resident() as server:
        answer = exchange(server.port, NAME + ending, scan.header.xml, noise)
        assert answer.ids == [layouts.CLOSE]
        answer = exchange(server.port, "jrsr", xml, image)
        assert_images(answer.images, scan.expected())
        # Without the dependency, and without the noise, the scan is not whitened.
        without = exchange(server.port, "jrsr", scan.header.xml, image)
    assert without.images[0].pixels.tobytes() != scan.expected()[0][1]


def test_own_noise_lines_come_first(scan, parts):
    noise, image, xml = parts
    other = [layouts.acquisition(h, 3 * d) for h, d in zip(*noise_of(scan), strict=True)]
    with resident() as server:
        exchange(server.port, noise_store.CONFIG, scan.header.xml, other)
        answer = exchange(server.port, "jrsr", xml, noise + image)
    assert_images(answer.images, scan.expected())


def noise_of(scan):
    chosen = select(scan.lines, np.flatnonzero(has_flag(scan.lines.heads, NOISE)))
    return chosen.heads, chosen.data


def test_noise_that_is_missing_or_of_other_coils_is_a_warning(scan, parts, caplog):
    noise, image, xml = parts
    renamed = xml.replace(">C1<", ">X1<")
    with resident() as server:
        missing = exchange(server.port, "jrsr", xml, image)
        exchange(server.port, noise_store.CONFIG, scan.header.xml, noise)
        other = exchange(server.port, "jrsr", renamed, image)
    assert len(missing.images) == len(other.images) == 2
    assert "simulator_phantom_1_1 was not received and is not used" in caplog.text
    assert "is of other coils and is not used" in caplog.text


def test_a_noise_measurement_without_noise_or_name_is_an_error(scan, parts):
    noise, image, _ = parts
    nameless = scan.header.xml.replace("simulator_phantom_1_1", "")
    with resident() as server:
        answer = exchange(server.port, noise_store.CONFIG, scan.header.xml, image)
        assert answer.texts == [f"ERROR noise measurement has no noise lines among {len(image)}"]
        answer = exchange(server.port, noise_store.CONFIG, nameless, noise)
    assert "measurementID is missing" in answer.texts[0] and answer.is_closed


def test_the_oldest_noise_is_dropped(scan, monkeypatch):
    noise = noise_of_scan(scan.header, scan.lines)
    store = NoiseStore()
    monkeypatch.setattr(noise_store, "MAX_BYTES", 2 * noise.samples.nbytes)
    for name in "abca":
        store.keep(replace(scan.header, measurement_id=name), noise)
    found = [store.find(replace(scan.header, noise_measurement_id=n)) for n in "abc"]
    assert [f is not None for f in found] == [True, False, True]


def test_noise_is_that_of_the_same_scanner(scan, caplog):
    """Two scanners number their measurements alike; an anonymous header names none."""
    noise = noise_of_scan(scan.header, scan.lines)
    louder = replace(noise, samples=10 * noise.samples)
    headers = {
        name: replace(
            scan.header,
            measurement_id="1",
            noise_measurement_id="1",
            device=("vendor", name, "3", "", "", "", ""),
        )
        for name in "abc"
    }
    store = NoiseStore()
    store.keep(headers["a"], noise)
    store.keep(headers["b"], louder)
    assert store.find(headers["a"]) is noise and store.find(headers["b"]) is louder
    assert store.find(replace(headers["a"], device=())) is louder, "the latest of this number"
    assert store.find(headers["c"]) is None
    assert "noise measurement 1 is of another scanner and is not used" in caplog.text
