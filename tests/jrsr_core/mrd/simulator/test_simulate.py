"""Simulated scans: fields of a request are checked and have their effect; file and truth agree."""

from dataclasses import replace

import ismrmrd
import numpy as np
import pytest
import torch

from jrsr_core.common.validation import choices_of, limits
from jrsr_core.data import Counters
from jrsr_core.mrd.files.scan import ScanFile
from jrsr_core.mrd.header.scan_header import parse_header
from jrsr_core.mrd.simulator.frames import line_flags, make_frame, partial_fourier
from jrsr_core.mrd.simulator.header import slice_axes
from jrsr_core.mrd.simulator.lines import order_frames
from jrsr_core.mrd.simulator.request import ScanRequest, SimulationError, UnusualHeaders
from jrsr_core.mrd.simulator.simulate import simulate_scan, write_simulation

SMALL = ScanRequest(matrix="64x48", acs=8, n_coils=3, acceleration=2)
FIELDS = ScanRequest.model_fields
LIMITED = [name for name, field in FIELDS.items() if limits(field)[0] is not None]
NAMED = [name for name, field in FIELDS.items() if choices_of(field)]
UNUSUAL = {
    "noise_scans": 2,
    "noise_dwell": 2.0,
    "segments": 3,
    "alternate": True,
    "spare_lines": True,
    "spare_encoding": True,
    "limits": False,
    "trajectory": "epi",
}


def content(scan):
    """Header, line headers and samples as bytes."""
    return scan.header_xml, scan.lines.heads.tobytes(), [d.tobytes() for d in scan.lines.data]


@pytest.mark.parametrize("name", LIMITED)
def test_a_number_out_of_range_is_named(name):
    low, high = limits(FIELDS[name])
    for value in (low - 1, *([high + 1] if high is not None else [])):
        with pytest.raises(SimulationError, match=rf"^{name} is {value}, expected a .*{low:g}"):
            ScanRequest(**{name: value})


@pytest.mark.parametrize("name", NAMED)
def test_an_unknown_name_is_named_with_the_known_ones(name):
    default = FIELDS[name].default
    with pytest.raises(SimulationError, match=f"^{name} is 'x', known: .*{default}"):
        ScanRequest(**{name: "x"})
    with pytest.raises(SimulationError, match=f"did you mean '{default}'"):
        ScanRequest(**{name: default + "s"})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"slice": 2}, "unknown field 'slice', did you mean 'slices'?"),
        ({"slices": "2"}, "slices is '2', expected a whole number of at least 1"),
        ({"slices": 2.5}, "slices is 2.5, expected a whole number of at least 1"),
        ({"noise_db": float("nan")}, "noise_db is nan, expected a number"),
        ({"phase_fov": 0.8, "phase_oversampling": 2.0}, "one of them must be 1"),
    ],
)
def test_a_request_that_is_wrong(values, words):
    with pytest.raises(SimulationError) as caught:
        ScanRequest(**values)
    assert words in str(caught.value)
    with pytest.raises(SimulationError):
        SMALL.override(**values)


def test_every_field_is_described():
    assert all(field.description.endswith(".") for field in FIELDS.values())


@pytest.mark.parametrize("name", UnusualHeaders.model_fields)
def test_an_unusual_header_changes_the_scan_but_not_the_truth(name):
    plain, unusual = (simulate_scan(SMALL.override(**more)) for more in ({}, {name: UNUSUAL[name]}))
    assert content(plain) != content(unusual)
    assert torch.equal(plain.truth, unusual.truth)


def test_one_request_is_one_scan():
    assert content(simulate_scan(SMALL)) == content(simulate_scan(SMALL))
    assert content(simulate_scan(SMALL)) != content(simulate_scan(SMALL.override(seed=1)))


@pytest.mark.parametrize("more", [{}, {"protocol": "wall-16x", "mask": "random", "positions": 4}])
def test_the_file_holds_the_scan(more, tmp_path):
    made = write_simulation(SMALL.override(**more), tmp_path / "scan.h5")
    with ScanFile(tmp_path / "scan.h5") as scan:
        assert scan.header == parse_header(made.header_xml)
        assert scan.heads.tobytes() == made.lines.heads.tobytes()
        for i in range(len(scan.heads)):
            np.testing.assert_array_equal(scan.samples(np.array([i]))[0], made.lines.data[i])


def test_truth_and_frames_of_a_request():
    made = simulate_scan(SMALL.override(contrasts=2, slices=2))
    assert made.truth.shape == (4, 64, 48)
    assert made.frames[0].kspace.shape == (3, 1, 32, 24)
    torch.testing.assert_close(made.truth[2], made.truth[0] ** 1.5)


def test_averages_differ_by_noise_of_the_stated_level():
    made = simulate_scan(SMALL.override(averages=2, noise_db=20.0))
    first, second = (f.kspace for f in made.frames)
    found = (first - second).abs().square().mean().sqrt() / 2**0.5
    assert float(found) == pytest.approx(made.noise_std, rel=0.05)
    assert float(made.noise.abs().square().mean().sqrt()) == pytest.approx(made.noise_std, rel=0.05)


def test_nothing_is_left_after_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_simulation(ScanRequest(image="nowhere.h5:0"), tmp_path / "scan.h5")
    assert not list(tmp_path.iterdir())


def test_axes_are_orthonormal_and_right_handed():
    read, phase, normal = (np.array(v) for v in slice_axes(25.0, -40.0))
    np.testing.assert_allclose(np.stack([read, phase, normal]) @ read, (1, 0, 0), atol=1e-12)
    np.testing.assert_allclose(np.cross(read, phase), normal, atol=1e-12)


def frames(n, **counters):
    kspace = torch.zeros(2, 1, 8, 6, dtype=torch.complex64)
    return [make_frame(Counters(slice=i, **counters), kspace, torch.ones(1, 8)) for i in range(n)]


@pytest.mark.parametrize(
    ("order", "slices"),
    [
        ("sequential", [[0], [1], [2], [3], [4]]),
        ("interleaved", [[0], [2], [4], [1], [3]]),
        ("reversed", [[4], [3], [2], [1], [0]]),
        ("by-line", [[0, 1, 2, 3, 4]]),
    ],
)
def test_order_of_slices_within_a_repetition(order, slices):
    scan = frames(5) + frames(5, repetition=1)
    groups = order_frames(scan, order)
    assert [[f.counters.slice for f in g] for g in groups] == 2 * slices
    repetitions = [g[0].counters.repetition for g in groups]
    assert repetitions == [0] * len(slices) + [1] * len(slices)


def test_partial_fourier_leaves_out_the_first_lines():
    (frame,) = frames(1)
    assert partial_fourier(frame, (1.0, 0.75)).mask[0].tolist() == [0, 0, *[1] * 6]
    reference = replace(frame, reference=True)
    assert torch.equal(partial_fourier(reference, (1.0, 0.75)).mask, frame.mask)


def test_a_fully_sampled_scan_has_no_calibration_flags():
    assert not line_flags(torch.ones(1, 16)).any()
    assert line_flags(torch.ones(1, 16).index_fill_(1, torch.tensor([0, 2]), 0)).any()


def test_every_channel_has_a_name_as_gadgetron_needs_for_noise():
    made = simulate_scan(SMALL)
    header = ismrmrd.xsd.CreateFromDocument(made.header_xml)
    labels = header.acquisitionSystemInformation.coilLabel
    assert [(label.coilNumber, label.coilName) for label in labels] == [
        (i, f"C{i + 1}") for i in range(SMALL.n_coils)
    ]
    names = tuple(label.coilName for label in labels)
    assert parse_header(made.header_xml).coil_names == names
