"""Warnings of scans that are unlike the training data, and of images that contradict them."""

import math
from dataclasses import replace

import pytest

from jrsr_core.reconstruction.contradiction import Residual
from jrsr_core.reconstruction.load import load_model
from jrsr_core.reconstruction.warnings import (
    beyond_the_coils,
    not_converged,
    residual_warning,
    signal_to_noise_db,
    unlike_training,
)
from jrsr_core.simulation.protocols import PROTOCOLS
from jrsr_core.weights.card import WeightsCard
from jrsr_core.weights.find import find_card

from .test_reconstructor import make_slice

USUAL = {"n_coils": 12, "acceleration": 2.5, "n_acs": 24, "hr_size": (232, 256), "noise_db": 30.0}


RANGE = {
    **{"n_coils": [4, 20], "acceleration": [1.4, 4.0], "n_acs": [16, 30]},
    **{
        "hr_size": [144, 272],
        "noise_db": [18.0, 38.0],
        "masks": [["gaussian", 0.9], ["full", 0.1]],
    },
}


@pytest.fixture(scope="module")
def card():
    return WeightsCard(**dict(WeightsCard.read(find_card("jrsr-dc"))) | {"range": RANGE})


def test_the_shipped_weights_know_the_protocol():
    assert unlike_training(WeightsCard.read(find_card("jrsr-dc")), **USUAL) == []


def test_the_protocol_of_the_training_is_not_suspect(card):
    assert unlike_training(card, **USUAL) == []
    assert unlike_training(None, **USUAL) == []
    assert unlike_training(card, **USUAL | {"acceleration": 1.0}) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_coils": 2}, "coils 2 outside 4 to 20"),
        ({"acceleration": 5.5}, "acceleration 5.5 outside 1 to 4"),
        ({"n_acs": 8}, "calibration lines 8 outside 16 to 30"),
        ({"hr_size": (96, 256)}, "HR matrix size 96 outside 144 to 272"),
        ({"hr_size": (256, 512)}, "HR matrix size 512 outside 144 to 272"),
        ({"noise_db": 8.0}, "signal-to-noise ratio in dB 8 outside 18 to 38"),
        ({"noise_db": math.inf}, "signal-to-noise ratio in dB inf"),
    ],
)
def test_each_figure_outside_its_range_is_named(changes, words, card):
    (warning,) = unlike_training(card, **USUAL | changes)
    assert warning.startswith(words)


SETS = sorted(find_card("jrsr-dc").parent.glob("*/*.json"))


@pytest.mark.parametrize("path", SETS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_weights_of_one_protocol_are_for_it_alone(path):
    card = WeightsCard.read(path)
    protocol = PROTOCOLS[card.range["protocol"]]
    own = {"acceleration": protocol.acceleration, "n_acs": 24, "noise_db": 30.2, "n_coils": 12}
    assert unlike_training(card, **USUAL | own) == []
    found = unlike_training(card, n_coils=1, acceleration=12.0, n_acs=4, noise_db=3.0)
    assert len(found) == 4
    assert "acceleration 12 outside" in found[1]


def test_more_coils_and_more_calibration_lines_do_no_harm(card):
    assert unlike_training(card, **USUAL | {"n_coils": 32, "n_acs": 64}) == []


@pytest.mark.parametrize("noise_db", [20.0, 30.0])
def test_the_signal_to_noise_ratio_is_that_of_the_simulation(noise_db):
    _, slice_ = make_slice((232, 256), n_coils=8, n_acs=24, acceleration=2.0, noise_db=noise_db)
    report = load_model("cg-sense+sinc")(slice_).report
    assert report.snr_db == pytest.approx(noise_db, abs=0.5)


def test_signal_without_noise_and_noise_without_signal():
    assert signal_to_noise_db(1.0, 0.0) == math.inf
    assert signal_to_noise_db(0.0, 1.0) == -math.inf


def test_contradiction_and_convergence():
    assert residual_warning(Residual(0.08, 0.07)) == residual_warning(Residual(0.05, 0.07)) == []
    assert residual_warning(Residual(0.3, 0.07)) == ["k-space residual 0.300, noise explains 0.070"]
    assert "0.300 at readout position 4," in residual_warning(Residual(0.3, 0.07, 4))[0]
    assert not_converged(math.nan) == [] and "0.2" in not_converged(0.2)[0]


def test_the_report_of_an_unlike_scan_says_so():
    _, slice_ = make_slice((72, 112))
    report = load_model("jrsr-dc")(slice_).report
    assert "HR matrix size" in report.warnings[0]
    _, noisy = make_slice((72, 112), noise_db=0.0)
    assert any("signal-to-noise" in w for w in load_model("jrsr-dc")(noisy).report.warnings)


@pytest.mark.parametrize(
    ("n_coils", "acceleration", "is_beyond"),
    [(1, 1.0, False), (1, 4 / 3, False), (1, 1.5, True), (2, 2.5, False), (2, 3.0, True)],
)
def test_more_is_missing_than_the_coils_can_tell_apart(n_coils, acceleration, is_beyond):
    assert bool(beyond_the_coils(n_coils, acceleration)) == is_beyond


@pytest.mark.parametrize(("n_coils", "warns"), [(1, True), (4, False)])
def test_an_undersampled_scan_with_one_coil_is_suspect(n_coils, warns):
    report = load_model("cg-sense+sinc")(make_slice(n_coils=n_coils)[1]).report
    assert any("with 1 coil: the aliasing" in w for w in report.warnings) == warns


@pytest.mark.parametrize("n_missing", [0, 12, 20])
def test_partial_fourier_of_one_coil_is_not_aliased(n_missing):
    _, slice_ = make_slice(n_coils=1, acceleration=1.0, n_acs=8)
    assert slice_.kspace.shape[-2] == 48
    kspace, mask = slice_.kspace.clone(), slice_.mask.clone()
    kspace[:, :n_missing] = mask[:n_missing] = 0
    report = load_model("cg-sense+sinc")(replace(slice_, kspace=kspace, mask=mask)).report
    assert report.acceleration == pytest.approx(48 / (48 - n_missing))
    assert not any("aliasing" in w for w in report.warnings)
