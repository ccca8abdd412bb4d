"""Scans of any Cartesian kind: made objects, wide ranges, masks with one side or the centre."""

import json
from dataclasses import asdict, replace

import pytest
import torch

from jrsr_core.physics.fourier import fft2c
from jrsr_core.reconstruction.warnings import training_ranges, unlike_training
from jrsr_core.simulation.masks import gaussian_mask, random_mask
from jrsr_core.simulation.phantoms import brain_phantom
from jrsr_core.simulation.protocols import PROTOCOLS
from jrsr_core.weights.card import WeightsCard
from training.config import RunConfig
from training.data.loading.batches import fresh_variety
from training.data.manifest import Acquisition, Manifest
from training.data.scans import calibrate_scan
from training.data.variety.draw_masks import MOST_OUTSIDE, chosen, draw_mask, partial_fourier
from training.data.variety.objects import DRAWN, OBJECTS, make_object
from training.data.variety.ranges import (
    BRAIN,
    VARIETIES,
    WIDE,
    WIDE_SHAPES,
    Variety,
    find_variety,
    parse_shares,
    without_neutral,
)
from training.data.variety.vary import coarser_pixels, draw_scan, random_tone, vary_image
from training.evaluation.export import describe_data

CARD = {
    "model": "jrsr-dc",
    "preset": "tiny",
    "file": "w.safetensors",
    "sha256": "0" * 64,
    "architecture": {},
}


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("kind", DRAWN)
def test_made_objects_repeat_differ_and_reach_high_frequencies(kind):
    head, shape = brain_phantom((96, 104)), (96, 128)
    first = make_object(kind, head, shape, seeded(1))
    assert first.shape == shape and first.dtype == torch.float32
    assert float(first.min()) >= 0 and float(first.max()) == pytest.approx(1.0)
    assert torch.equal(first, make_object(kind, head, shape, seeded(1)))
    second = make_object(kind, head, shape, seeded(2))
    assert float((first - second).abs().mean()) > 0.02
    # Detail beyond a scan of half the matrix, more than 1 % of all but the mean.
    power = fft2c((first - first.mean()).to(torch.complex64)).abs().square()
    inner = power[24:72, 32:96].sum()
    assert 0.01 < 1 - float(inner / power.sum()) < 0.6


def test_a_bent_image_is_made_of_the_image():
    head = brain_phantom((96, 104))
    sizes = set()
    for seed in range(12):
        made = make_object("bent", head, (0, 0), seeded(seed))
        sizes.add(made.shape)
        assert float(made.max()) == pytest.approx(1.0)
    assert torch.Size((96, 104)) in sizes and len(sizes) > 1
    whole = next(
        m for s in range(12) if (m := make_object("bent", head, (0, 0), seeded(s))).shape[0] == 96
    )
    assert 0.01 < float((whole - head / head.max()).abs().mean()) < 0.5


def test_wide_scans_span_their_ranges():
    head = brain_phantom((104, 120))
    # Small matrices: the rest of the ranges is what is asked here.
    small = replace(WIDE, hr_size=(80, 112), protocol_share=0.0, n_coils=(1, 16))
    scans = [draw_scan(head, PROTOCOLS["brain-5x"], small, seeded(s)) for s in range(24)]
    n_coils = {s.fully_sampled.shape[0] for s in scans}
    assert 1 in n_coils and max(n_coils) > 8
    assert all(80 <= n <= 112 for s in scans for n in s.coil_images.shape[1:])
    assert all(tuple(s.mask.shape) == tuple(n // 2 for n in s.coil_images.shape[1:]) for s in scans)
    shares = sorted(float(s.mask.mean()) for s in scans)
    assert shares[0] < 0.35 and shares[-1] == 1.0
    levels = [
        20 * torch.log10(s.clean.abs().square().sum(0).mean().sqrt() / s.noise_std) for s in scans
    ]
    # The noise level that is given may be wrong by some 15 %.
    assert min(levels) < 17 and max(levels) > 38 and min(levels) > 6 and max(levels) < 50


def test_wide_scans_made_while_training_have_a_handful_of_shapes():
    small = tuple((y // 2, x // 2) for y, x in WIDE_SHAPES)
    values = {"model": "jrsr-dc", "preset": "tiny", "data": "d", "out": "o", "steps": 1}
    scans = RunConfig.model_validate(values | {"scans": {"vary": True, "variety": "wide"}}).scans
    variety = replace(
        fresh_variety(scans), shapes=small, hr_size=(40, 224), protocol_share=0.0, n_acs=(8, 16)
    )
    head, counts = brain_phantom((104, 120)), set()
    for seed in range(30):
        made = draw_scan(head, PROTOCOLS["brain-5x"], variety, seeded(seed))
        shape = tuple(made.coil_images.shape[1:])
        assert shape in small and made.mask.shape == (shape[0] // 2, shape[1] // 2)
        counts.add(min(len(made.coil_images), 12))
    assert counts <= {1, 2, 4, 6, 12} and {1, 12} <= counts


@pytest.mark.parametrize("n_coils", [1, 2, 16])
def test_a_wide_scan_of_any_number_of_coils_can_be_calibrated(n_coils):
    head = brain_phantom((104, 120))
    variety = replace(
        WIDE, n_coils=(n_coils, n_coils), hr_size=(80, 112), protocol_share=0, noise_db=(30, 40)
    )
    made = calibrate_scan(draw_scan(head, PROTOCOLS["brain-5x"], variety, seeded(3)), "acs")
    assert made.kspace.shape[1] == min(n_coils, 12)
    assert torch.isfinite(made.target.abs()).all()
    # Of one coil the map is a phase: the image keeps its magnitude.
    assert float(made.csm.abs().square().sum(1).amax()) == pytest.approx(1.0, abs=1e-3)


def test_the_noise_level_that_is_given_is_wrong_by_chance_alone():
    head, ratios = brain_phantom((104, 120)), []
    for seed in range(20):
        drawn = []
        for error in (0.0, 0.15):
            variety = Variety(hr_size=(64, 80), protocol_share=0.0, noise_error=error)
            drawn.append(draw_scan(head, PROTOCOLS["brain-5x"], variety, seeded(seed)))
        assert torch.equal(drawn[0].fully_sampled, drawn[1].fully_sampled)
        ratios.append(drawn[1].noise_std / drawn[0].noise_std)
    logs = torch.tensor(ratios).log()
    assert 0.08 < float(logs.std()) < 0.25 and abs(float(logs.mean())) < 0.1


def test_central_masks_have_hardly_any_line_outside():
    variety = replace(WIDE, masks=(("centre", 1.0),), partial_fourier=0.0)
    for seed in range(20):
        lines = draw_mask((96, 80), variety, seeded(seed))[:, 0]
        n_acs = 12
        while n_acs < 48 and bool(lines[48 - (n_acs + 1) // 2 : 48 + (n_acs + 2) // 2].all()):
            n_acs += 1
        assert int(lines.sum()) <= 32 + MOST_OUTSIDE
        assert int(lines.sum()) - n_acs <= MOST_OUTSIDE


@pytest.mark.parametrize("n", [64, 65])
def test_partial_fourier_removes_one_end_and_never_the_centre(n):
    sides = set()
    for seed in range(16):
        mask = gaussian_mask((n, 48), 2.0, n_acs=16, seed=seed)
        cut = partial_fourier(mask, seeded(seed))
        mirrored = torch.roll(mask.flip(0), 1 - n % 2, 0)
        assert bool((cut <= mask).all()) or bool((cut <= mirrored).all())
        lines = torch.nonzero(cut[:, 0]).flatten() - n // 2
        assert bool(cut[n // 2 - 7 : n // 2 + 8].all()), "the calibration lines remain"
        low, high = int(-lines.min()), int(lines.max())
        sides.add(low < high)
    assert sides == {True, False}
    points = random_mask((64, 64), 4.0, n_acs=16)
    assert torch.equal(partial_fourier(points, seeded(0)), points)


def test_tones_change_the_contrast_and_leave_air_black():
    image = torch.linspace(0, 1, 101).reshape(1, 101)
    curves = [random_tone(image, seeded(s))[0] for s in range(8)]
    assert all(float(c[0]) == 0 and 0 <= float(c.min()) and float(c.max()) <= 1 for c in curves)
    assert any(bool((c.diff() < 0).any()) for c in curves), "not monotone"
    assert all(float(c.diff().abs().max()) < 0.1 for c in curves), "continuous"


def test_an_aspect_changes_one_side_of_the_matrix():
    image = brain_phantom((96, 96))
    assert coarser_pixels(image, 1.0, 1.5).shape == (64, 96)
    assert coarser_pixels(image, 1.0, 1 / 1.5).shape == (96, 64)
    assert coarser_pixels(image, 1.5, 1.0).shape == (64, 64)


def test_neutral_fields_change_neither_draws_nor_hash():
    facts = asdict(BRAIN)
    assert set(facts) - set(without_neutral(facts)) == {
        *("shapes", "coil_counts", "objects", "aspect", "tones"),
        *("partial_fourier", "folded", "noise_error", "by_octaves"),
    }
    assert without_neutral(asdict(WIDE)).keys() == asdict(WIDE).keys() - {"shapes", "coil_counts"}
    image = brain_phantom((104, 120))
    plain = vary_image(image, BRAIN, seeded(4))
    given = replace(BRAIN, objects=(("image", 1.0),))
    assert torch.equal(plain, vary_image(image, given, seeded(4)))


def test_shares_of_objects():
    assert parse_shares(["leaves=0.2", "bent=.3"]) == {"leaves": 0.2, "bent": 0.3}
    variety = find_variety("wide", {"leaves": 0.2, "bent": 0.3})
    assert variety.objects == (("image", 0.5), ("leaves", 0.2), ("bent", 0.3))
    assert find_variety("wide") is VARIETIES["wide"]
    assert {kind for kind, _ in WIDE.objects} == set(OBJECTS)
    assert sum(share for _, share in WIDE.objects) == pytest.approx(1.0)
    for text in ("leaves", "leaves=a", "=0.1x"):
        with pytest.raises(ValueError, match="is not KIND=SHARE"):
            parse_shares([text])
    with pytest.raises(ValueError, match=r"unknown object 'leafs', did you mean 'leaves'\?"):
        find_variety("wide", {"leafs": 0.2})
    with pytest.raises(ValueError, match=r"sum up to 1\.3, more than 1"):
        find_variety("wide", {"leaves": 0.8, "bent": 0.5})
    with pytest.raises(ValueError, match=r"share of image is 0\.5, made objects leave 0\.8"):
        find_variety("wide", {"image": 0.5, "leaves": 0.2})
    with pytest.raises(ValueError, match="unknown variety 'wild', did you mean 'wide'"):
        find_variety("wild")


@pytest.mark.parametrize("shares", [{"image": 1}, {"leaves": 1}, {"image": 0.5, "lines": 0.5}])
def test_whole_shares_leave_only_the_kinds_that_were_asked_for(shares):
    variety = find_variety("wide", shares)
    drawn = {chosen(variety.objects, seeded(number)) for number in range(20)}
    assert drawn == set(shares)


def test_a_recipe_names_ranges_and_objects():
    values = {"model": "jrsr-dc", "preset": "tiny", "data": "d", "out": "o", "steps": 1}
    scans = {"vary": True, "variety": "wide", "objects": {"leaves": 0.5}}
    config = RunConfig.model_validate(values | {"scans": scans})
    variety = fresh_variety(config.scans)
    assert variety.objects == (("image", 0.5), ("leaves", 0.5))
    assert variety.shapes == WIDE_SHAPES and variety.n_coils == (1, 64)
    with pytest.raises(ValueError, match=r"need scans\.vary=true"):
        RunConfig.model_validate(values | {"scans": scans | {"vary": False}})


def test_the_card_states_all_ranges_and_warnings_follow_them_on_both_sides():
    acquisition = Acquisition("brain-5x", "acs", seed=3, variety=WIDE)
    source = {"name": "a.h5", "kind": "images", "sha256": "0" * 64}
    _, ranges = describe_data(Manifest(acquisition, (source,), ()))
    stated = {field for field in without_neutral(asdict(WIDE))}
    assert stated <= ranges.keys()
    card = WeightsCard.model_validate_json(json.dumps(CARD | {"range": ranges}), strict=True)
    assert training_ranges(card) == {
        "n_coils": (1, 64),
        "acceleration": (1, 6),
        "n_acs": (12, 48),
        "hr_size": (80, 512),
        "noise_db": (10, 45),
    }
    inside = {"n_coils": 1, "acceleration": 6, "n_acs": 12, "hr_size": (80, 512), "noise_db": 10}
    assert not unlike_training(card, **inside)
    for name, value in (
        ("acceleration", 7.0),
        ("n_acs", 8),
        ("hr_size", (64, 256)),
        ("hr_size", (256, 640)),
        ("noise_db", 8.0),
        ("noise_db", 50.0),
    ):
        assert len(unlike_training(card, **{name: value})) == 1, (name, value)
