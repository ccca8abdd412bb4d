"""The kept contrast of lesions: 1 for the truth, 0 for an image without them, linear between."""

import pytest
import torch

from jrsr_core.simulation.phantoms import brain_phantom
from tests.benchmarks.kept_lesions import add_slice, lesions
from tests.benchmarks.lesions import KINDS

IMAGE = brain_phantom((128, 128)).abs()


def test_lesions_change_the_image_by_their_contrast():
    for lesion, where in lesions(IMAGE, 5.0, -0.2, 1):
        level = IMAGE[where].mean()
        assert float(lesion[where].min() / level) == pytest.approx(-0.2, rel=1e-3)
        assert float(lesion[~where].abs().max() / level) <= 0.1 + 1e-6


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_what_is_left_of_a_lesion_is_what_is_found(share):
    scanned = [(kind, lesions(IMAGE, kind, 0.2, 1)) for kind in KINDS]
    # One lesion at a time: where two overlap, each has a part of the other.
    for number in range(len(scanned[0][1])):
        there = [(kind, found[number : number + 1]) for kind, found in scanned]
        images = [(kind, one, IMAGE + share * one[0][0]) for kind, one in there]
        kept = {}
        add_slice(kept, [(None, [], IMAGE), *images])
        assert all(torch.allclose(torch.tensor(kept[kind]), torch.tensor(share)) for kind in KINDS)


def test_noise_of_the_same_scan_does_not_count():
    noise = 0.1 * torch.randn(IMAGE.shape, generator=torch.Generator().manual_seed(0))
    found = lesions(IMAGE, 3.0, 0.2, 1)
    lesion = found[0][0]
    kept = {}
    add_slice(kept, [(None, [], IMAGE + noise), (3.0, found[:1], IMAGE + noise + lesion)])
    assert kept[3.0] == pytest.approx([1.0], abs=1e-4)
