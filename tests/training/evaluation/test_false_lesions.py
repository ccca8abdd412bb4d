"""False lesions: what data consistency takes back of them, and that the maps find them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from jrsr_core.reconstruction.load import load_model
from jrsr_core.simulation.phantoms import brain_phantom
from tests.benchmarks.lesions import (
    KINDS,
    ROW_CONTRASTS,
    ROW_MAP,
    STRIPES,
    Scores,
    add_slice,
    auc,
    write_rows,
)
from training.data.testset import scan_test_image

IMAGE = brain_phantom((128, 128)).abs()


@torch.inference_mode()
def scores_of(name):
    scan = scan_test_image(IMAGE, "brain-5x", 1)
    scores = Scores(ROW_CONTRASTS)
    test = SimpleNamespace(scan=scan, address=SimpleNamespace(index=1))
    add_slice(scores, load_model(name, accept_contradictions=True), test, in_detail=False)
    return scores


@pytest.mark.parametrize(
    ("with_it", "without", "area"),
    [([2, 3], [0, 1], 1.0), ([0, 1], [2, 3], 0.0), ([1, 2], [1, 2], 0.5), ([1, 3], [2, 2], 0.5)],
)
def test_area_under_the_curve_is_the_probability_of_a_right_order(with_it, without, area):
    assert auc(with_it, without) == area


def test_without_data_consistency_all_of_a_false_lesion_is_delivered():
    scores = scores_of("jrsr@brain-5x")
    assert all(np.allclose(scores.left[kind], 1.0, atol=1e-4) for kind in KINDS)


def test_data_consistency_takes_back_what_was_measured_and_the_map_finds_it(capsys):
    scores = scores_of("jrsr-dc")
    assert np.mean(scores.left[5.0]) < 0.5 < 0.9 < np.mean(scores.left[STRIPES])
    assert auc(*scores.pairs[5.0, ROW_CONTRASTS[0], ROW_MAP]) > 0.9
    write_rows({"jrsr-dc": scores})
    head, _, row = capsys.readouterr().out.splitlines()
    assert head.count("|") == row.count("|") == len(KINDS) + 4
