"""Manifest and preparation: split by subject, a stable hash, resumable, one scan from one entry."""

import json
import shutil
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from jrsr_core.physics.fourier import fft2c
from jrsr_core.simulation.phantoms import brain_phantom
from jrsr_core.simulation.protocols import PROTOCOLS
from tests.helpers.paths import SHARED
from tests.helpers.synthetic import scan as scanned
from tests.training.conftest import write_images
from training.data import acquire
from training.data.acquire import make_scan, undersample
from training.data.listing import build_manifest
from training.data.manifest import Acquisition, Entry, Manifest, check_subjects
from training.data.prepare import get_scan, make_all, open_folder, scan_path
from training.data.scans import collate, unpack_scan
from training.data.sources import find_sources
from training.data.testset import find_slices, scan_slice
from training.data.variety.ranges import Variety
from training.data.variety.vary import coarser_pixels, draw_scan, vary_image
from training.evaluation.export import describe_data, read_manifest

from .test_sources import coil_kspace, write_fastmri, write_modl

BRAIN = SHARED / "data" / "brain_train.h5"
SMALL = Acquisition("brain-5x", n_coils=4)


def manifest_of(images, acquisition=SMALL, n=None):
    return build_manifest(find_sources([images]), acquisition, n)


def test_subjects_stay_together(images):
    manifest = manifest_of(images)
    splits = {s.subject: s.split for s in manifest.scans}
    assert sorted(splits) == ["a", "b", "c", "d"]
    assert sorted(splits.values()) == ["test", "train", "train", "val"]
    check_subjects(manifest.scans, "here")


def test_the_validation_scans_of_published_figures_are_still_chosen():
    scans = tuple(Entry(f"scan_{i}", "a", "val", 0, i, i) for i in range(10))
    manifest = Manifest(SMALL, (), scans)
    chosen = {n: [e.slice for e in manifest.first_of_parts("val", n)] for n in (0, 3, 4, 12)}
    assert chosen == {0: [], 3: [0, 3, 6], 4: [0, 2, 5, 7], 12: list(range(10))}


def test_hash_depends_on_content_not_on_place(images, tmp_path):
    moved = tmp_path / "elsewhere" / images.name
    moved.parent.mkdir()
    shutil.copy(images, moved)
    here, there = manifest_of(images), manifest_of(moved)
    assert here.sha256 == there.sha256
    assert here.paths != there.paths
    changed = write_images(tmp_path / images.name, n=5)
    assert manifest_of(changed).sha256 != here.sha256
    assert manifest_of(images, Acquisition("wall-16x", n_coils=4)).sha256 != here.sha256


def test_manifest_comes_back_from_disk(images, tmp_path):
    acquisition = Acquisition("brain-5x", "acs", 64, 4, 2, 7, Variety(n_coils=(4, 6)))
    manifest = manifest_of(images, acquisition, 3)
    manifest.write(tmp_path)
    found = Manifest.read(tmp_path)
    assert found == manifest
    assert found.sha256 == manifest.sha256
    assert found.acquisition.variety.masks == Variety().masks


def test_a_manifest_of_before_tissue_phase_is_read_and_has_none(images, tmp_path):
    variety = Variety(n_coils=(4, 6), tissue_phase=0.0)
    manifest = manifest_of(images, Acquisition("brain-5x", "acs", 64, 4, variety=variety))
    manifest.write(tmp_path)
    edit(tmp_path, lambda values: values["acquisition"]["variety"].pop("tissue_phase"))
    assert Manifest.read(tmp_path) == manifest
    assert manifest.sha256 != manifest_of(images, Acquisition("brain-5x", variety=Variety())).sha256


def edit(folder, change):
    path = folder / "manifest.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def test_bad_manifests_are_refused(images, tmp_path):
    manifest_of(images).write(tmp_path)

    def overlap(values):
        scans = [s for s in values["scans"] if s["subject"] == "a"]
        scans[0]["split"] = "test" if scans[0]["split"] == "val" else "val"

    edit(tmp_path, overlap)
    with pytest.raises(ValueError, match=r"subject 'a' is in \w+ and in \w+"):
        Manifest.read(tmp_path)
    manifest_of(images).write(tmp_path)
    edit(tmp_path, lambda values: values["scans"].pop())
    with pytest.raises(ValueError, match=r"sha256 is .* the file says"):
        Manifest.read(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(ValueError, match="not a manifest"):
        Manifest.read(tmp_path)
    with pytest.raises(ValueError, match="split 'dev'"):
        check_subjects([Entry("s", "a", "dev", 0, 0, 0)], "here")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v.pop("scans"), "(field 'scans' is missing)"),
        (lambda v: v.update(scan=[]), "(unknown field 'scan', did you mean 'scans'?)"),
        (lambda v: v["scans"][1].update(seed="3"), "(scans.1.seed is '3', expected a whole"),
        (lambda v: v["scans"][1].update(splt="val"), "'scans.1.splt', did you mean 'split'?)"),
        (lambda v: v.update(acquisition=[]), "(acquisition is [], expected an object)"),
        (lambda v: v["acquisition"].update(n_coil=3), "'acquisition.n_coil', did you mean"),
        (lambda v: v["acquisition"]["variety"].update(noise=3), "'acquisition.variety.noise', did"),
        (
            lambda v: v["acquisition"]["variety"].update(n_coils=[4]),
            "(field 'acquisition.variety.n_coils.1' is missing)",
        ),
    ],
)
def test_the_wrong_field_of_a_manifest_is_named(change, message, images, tmp_path):
    manifest_of(images, Acquisition("brain-5x", variety=Variety()), 3).write(tmp_path)
    edit(tmp_path, change)
    with pytest.raises(ValueError) as caught:
        Manifest.read(tmp_path)
    where = tmp_path / "manifest.json"
    assert str(caught.value).startswith(f"{where}: not a manifest of version 2")
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"scans": []}', "[" * 100_000])
def test_what_is_no_manifest_at_all(text, tmp_path):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match=r"not a manifest \(no JSON object with its sha256\)$"):
        Manifest.read(tmp_path)


def test_files_that_share_a_subject_across_splits_are_refused(tmp_path):
    write_images(tmp_path / "x_train.h5")
    write_images(tmp_path / "x_val.h5")
    with pytest.raises(ValueError, match=r"subject 'a' is in train and in val"):
        build_manifest(find_sources([tmp_path]), SMALL)


def test_scans_are_drawn_from_training_slices(images, tmp_path):
    manifest = manifest_of(images, SMALL, 9)
    assert len(manifest.split("train")) == 9
    assert len(manifest.scans) > 9, "those of validation as well"
    only = write_images(tmp_path / "x_val.h5")
    with pytest.raises(ValueError, match=r"x_val.h5: slices of val only, none of train"):
        manifest_of(only, SMALL, 2)


def test_preparation_goes_on_where_it_stopped(images, tmp_path):
    manifest = open_folder([images], tmp_path, SMALL)
    first = next(make_all(tmp_path, manifest))
    content = scan_path(tmp_path, first).read_bytes()
    scan_path(tmp_path, first).touch()
    stamp = scan_path(tmp_path, first).stat().st_mtime_ns
    entries = list(make_all(tmp_path, open_folder([images], tmp_path, SMALL)))
    assert scan_path(tmp_path, first).stat().st_mtime_ns == stamp, "not made again"
    scan_path(tmp_path, first).unlink()
    list(make_all(tmp_path, manifest))
    assert scan_path(tmp_path, first).read_bytes() == content, "the same entry, the same scan"
    assert all(scan_path(tmp_path, e).exists() for e in entries)
    with pytest.raises(ValueError, match="prepared otherwise, truth_maps is full, wanted acs"):
        open_folder([images], tmp_path, Acquisition("brain-5x", "acs", n_coils=4))


def test_a_scan_that_was_cut_off_is_made_again(images, tmp_path):
    manifest = open_folder([images], tmp_path, SMALL)
    list(make_all(tmp_path, manifest))
    entry = manifest.split("train")[0]
    path = scan_path(tmp_path, entry)
    whole = path.read_bytes()
    for again in (
        lambda: list(make_all(tmp_path, manifest)),
        lambda: get_scan(tmp_path, manifest, entry),
    ):
        path.write_bytes(whole[: len(whole) // 2])
        again()
        assert path.read_bytes() == whole
    path.write_bytes(whole[:100])
    gone = replace(manifest, paths=(str(tmp_path / "gone.h5"),))
    acquire._source.cache_clear()
    with pytest.raises(ValueError, match=rf"^{path}: cut off, and not made again: .*gone.h5"):
        get_scan(tmp_path, gone, entry)


@pytest.mark.parametrize("truth_maps", ["acs", "full"])
def test_truth_agrees_with_the_measurement(images, truth_maps):
    # What is left is the noise of the measurement, within the accuracy of maps from few lines.
    manifest = manifest_of(images, Acquisition("wall-16x", truth_maps, n_coils=4))
    scan = make_scan(manifest, manifest.scans[0])
    n_samples = scan.kspace.shape[1] * float(scan.mask.sum())
    noise = float(scan.noise_std) * n_samples**0.5
    difference = float(torch.linalg.vector_norm(scan.sense(scan.target) - scan.kspace))
    assert 0.8 * noise < difference < 2.0 * noise
    assert difference < 0.1 * float(torch.linalg.vector_norm(scan.kspace))
    lr_error = scan.sense.at_low_resolution()(scan.lr_target) - scan.kspace
    assert float(torch.linalg.vector_norm(lr_error)) < 2.0 * noise
    zero_filled = scan.sense.at_low_resolution().adjoint(scan.kspace)
    assert float(zero_filled.abs().max()) == pytest.approx(1.0, abs=0.01)


def test_maps_of_the_truth_differ_where_the_calibration_does(images):
    scans = [
        make_scan(m, m.scans[0])
        for m in (
            manifest_of(images, Acquisition("brain-5x", k, n_coils=4)) for k in ("acs", "full")
        )
    ]
    assert torch.equal(scans[0].kspace, scans[1].kspace)
    change = (scans[0].target - scans[1].target).abs().mean() / scans[0].target.abs().mean()
    assert 1e-4 < float(change) < 0.3


@pytest.mark.parametrize("write", [write_fastmri, write_modl], ids=["fastmri", "modl"])
def test_measured_kspace_becomes_a_scan(tmp_path, write):
    from jrsr_core.simulation.coils import random_coils

    image = brain_phantom((64, 72))
    csm = random_coils(4, (64, 72), torch.Generator().manual_seed(0))
    path = tmp_path / "data.h5"
    if write is write_fastmri:
        noise = 1e-3 * coil_kspace(4, (64, 72))
        write_fastmri(path, fft2c(csm * image) + noise, 72)
    else:
        import h5py

        with h5py.File(path, "w") as file:
            file["trnOrg"] = (image.T[None] + 0j).numpy().astype("complex64")
            file["trnCsm"] = csm.mT[None].numpy()
    manifest = manifest_of(path, Acquisition("brain-5x"))
    scan = make_scan(manifest, manifest.scans[0])
    assert scan.kspace.shape == (1, 4, 32, 36)
    scale = float(scan.target.abs().max() / image.max())
    error = (scan.target[0].abs() / scale - image).abs().mean() / image.mean()
    assert float(error) < 0.2
    with pytest.raises(ValueError, match="measured k-space is scanned as it is"):
        manifest_of(path, Acquisition("brain-5x", variety=Variety()))


def test_the_noise_of_measured_kspace_is_that_of_its_low_resolution():
    kspace, _, _, std = scanned(8, (128, 112))
    acquired = undersample(kspace, torch.ones(64, 56))
    # A quarter of the samples, on the scale of images of a quarter of the pixels.
    assert acquired.noise_std == pytest.approx(std / 2, rel=0.1)
    torch.testing.assert_close(acquired.clean, kspace[:, 32:96, 28:84] / 2)


def test_varied_scans_cannot_share_a_batch(images, tmp_path):
    variety = Variety(n_coils=(4, 4), n_acs=(16, 16), hr_size=(64, 112), protocol_share=0.0)
    acquisition = Acquisition("brain-5x", "acs", seed=1, variety=variety)
    manifest = manifest_of(images, acquisition, 3)
    scans = [make_scan(manifest, e) for e in manifest.split("train")[:2]]
    assert scans[0].kspace.shape != scans[1].kspace.shape
    folder = tmp_path
    list(make_all(folder, manifest))
    tensors = [load_file(scan_path(folder, e)) for e in manifest.split("train")[:2]]
    with pytest.raises(ValueError, match=r"use optimizer\.batch=1, or images and scans\.vary=true"):
        collate(tensors)


def test_a_batch_is_its_scans(scans):
    entries = Manifest.read(scans).split("train")[:2]
    tensors = [load_file(scan_path(scans, e)) for e in entries]
    two_maps = unpack_scan(collate(tensors))
    assert two_maps.csm.shape[1] == two_maps.sense.csm.shape[1] == 2
    batch = two_maps.with_one_map()
    assert torch.allclose(batch.csm.abs().square().sum(1).amax(), torch.tensor(1.0), atol=1e-3)
    for i, one in enumerate(unpack_scan(t).with_one_map() for t in tensors):
        assert torch.equal(batch.sense(batch.target)[i], one.sense(one.target)[0])
        assert float(batch.noise_std[i]) == float(one.noise_std[0])
    assert batch.mask.ndim == 2, "one mask for all"
    tensors[1]["mask"] = 1 - tensors[1]["mask"]
    both = unpack_scan(collate(tensors)).with_one_map()
    assert both.mask.shape[:2] == (2, 1)
    assert float(both.sense(both.target)[0].abs().sum()) > 0


def test_coarser_pixels_keep_intensity_and_band():
    image = brain_phantom((96, 96))
    coarse = coarser_pixels(image, 1.5)
    assert coarse.shape == (64, 64)
    assert float(coarse.mean()) == pytest.approx(float(image.mean()), rel=0.02)
    # Fills its band to the edge: no zero-padded truth.
    edge = fft2c(coarse.to(torch.complex64)).abs()[:, 0].mean()
    assert float(edge) > 1e-3


def test_variety_draws_differ_and_repeat():
    image = brain_phantom((104, 120))
    variety = Variety(hr_size=(64, 96), protocol_share=0.0)

    def draw(seed):
        generator = torch.Generator().manual_seed(seed)
        return draw_scan(image, PROTOCOLS["brain-5x"], variety, generator)

    assert torch.equal(draw(3).fully_sampled, draw(3).fully_sampled)
    shapes = {tuple(draw(s).fully_sampled.shape) for s in range(12)}
    assert len(shapes) > 4
    varied = vary_image(image, variety, torch.Generator().manual_seed(0))
    assert all(n % 2 == 0 for n in varied.shape)
    assert float(varied.max()) == pytest.approx(1.0)


def test_tissue_phase_changes_the_phase_alone():
    image = brain_phantom((104, 120))

    def draw(share):
        variety = Variety(hr_size=(64, 96), protocol_share=0.0, tissue_phase=share)
        generator = torch.Generator().manual_seed(5)
        return draw_scan(image, PROTOCOLS["brain-5x"], variety, generator).coil_images

    without, with_it = draw(0.0), draw(1.0)
    assert torch.allclose(without.abs(), with_it.abs(), atol=1e-5)
    difference = (with_it * without.conj()).sum(0)
    inside = difference.abs() > 1e-3
    assert float(difference[inside].angle().std()) > 0.1


def drawn_scans(manifest, monkeypatch):
    """What is simulated for every scan of a manifest, before its calibration."""
    monkeypatch.setattr(acquire, "calibrate_scan", lambda drawn, *_: drawn)
    return [make_scan(manifest, entry) for entry in manifest.scans]


def coil_maps(coil_images):
    return coil_images.abs() / coil_images.abs().square().sum(0).sqrt().clamp_min(1e-6)


def test_a_test_scan_shares_nothing_with_the_training_scan_of_its_number(images, monkeypatch):
    training = drawn_scans(manifest_of(images, Acquisition("brain-5x")), monkeypatch)
    for k, address in enumerate(find_slices(images)):
        drawn, test = training[k], scan_slice(address, "brain-5x").scan
        maps = coil_maps(drawn.coil_images), coil_maps(test.csm)
        object_ = drawn.coil_images.abs().sum(0) > 0
        assert float((maps[0] - maps[1]).abs()[:, object_].mean()) > 0.01
        # The same image, coils and phase would leave the same noise; corr is of LR k-space.
        noise = drawn.fully_sampled - drawn.clean, test.fully_sampled - drawn.clean
        overlap = torch.vdot(noise[0].flatten(), noise[1].flatten()).abs()
        assert float(overlap) < 0.1 * float(noise[0].norm() * noise[1].norm())


def test_no_training_seed_is_that_of_a_test_scan(images):
    # A generator takes 32 bits of a seed: equal bits, equal numbers.
    assert torch.equal(
        *(torch.rand(3, generator=torch.Generator().manual_seed(s)) for s in (7, 7 + 2**32))
    )
    for seed in (0, 1, 2147, 4294, 10**6, 2**40):
        manifest = manifest_of(images, Acquisition("brain-5x", seed=seed))
        drawn = {acquire.scan_seed(manifest, entry) % 2**32 for entry in manifest.scans}
        assert len(drawn) == len(manifest.scans)
        assert min(drawn) >= 2**31, "slice indices lie below"


def test_folders_of_version_1_stay_what_they_were(images, tmp_path):
    manifest = replace(manifest_of(images), version=1)
    manifest.write(tmp_path)
    assert Manifest.read(tmp_path) == manifest
    assert manifest.sha256 != manifest_of(images).sha256
    assert open_folder([images], tmp_path, SMALL).version == 1
    entries = manifest.scans
    assert [acquire.scan_seed(manifest, e) for e in entries] == list(range(len(entries)))


@pytest.mark.parametrize("share", [0.0, 1.0], ids=["varied", "as the protocol"])
def test_varied_scans_keep_the_limit_of_their_size(images, monkeypatch, share):
    variety = Variety(protocol_share=share, n_coils=(4, 4))
    for limit in (60, 66):
        acquisition = Acquisition("brain-5x", "acs", hr_limit=limit, n_coils=4, variety=variety)
        for drawn in drawn_scans(manifest_of(images, acquisition), monkeypatch):
            assert max(drawn.coil_images.shape[-2:]) <= limit


def test_small_images_are_varied_too(tmp_path):
    path = write_images(tmp_path / "x.h5")
    variety = Variety(protocol_share=1.0)
    manifest = manifest_of(path, Acquisition("brain-5x", "acs", n_coils=4, variety=variety))
    scan = make_scan(manifest, manifest.scans[0])
    assert scan.target.shape == (1, 64, 72)
    assert 0 < float(scan.mask.mean()) < 1


@pytest.mark.data
@pytest.mark.skipif(not BRAIN.exists(), reason="no brain_train.h5 in ../shared/data")
def test_open_data(tmp_path):
    manifest = open_folder([BRAIN], tmp_path, Acquisition("brain-5x"), 2)
    assert len(set(find_sources([BRAIN])[0].subjects)) == 61
    assert manifest.sources[0]["kind"] == "images"
    scan = make_scan(manifest, manifest.split("train")[0])
    assert scan.target.shape == (1, 232, 256)
    assert scan.kspace.shape == (1, 12, 116, 128)


def test_a_card_tells_the_range_of_scans_but_not_their_seed(images, tmp_path):
    manifest_of(images, Acquisition("brain-5x", "acs", seed=1), 3).write(tmp_path)
    text, told = describe_data(read_manifest({"data_folder": str(tmp_path)}))
    assert "scans of" in text
    assert (told["protocol"], told["truth_maps"]) == ("brain-5x", "acs")
    assert "seed" not in told


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_kspace_that_is_not_finite_is_refused_by_name(value, tmp_path):
    """One bad sample of one slice; nothing of it reaches the folder."""
    kspace = fft2c(torch.randn(4, 64, 64, dtype=torch.complex64))
    write_fastmri(tmp_path / "scan_train.h5", kspace, 64)
    with h5py.File(tmp_path / "scan_train.h5", "a") as file:
        file["kspace"][1, 2, 30, 31] = value
    manifest = manifest_of(tmp_path / "scan_train.h5")
    good, bad = manifest.split("train")
    for tensor in make_scan(manifest, good).__dict__.values():
        assert torch.isfinite(torch.view_as_real(tensor) if tensor.is_complex() else tensor).all()
    folder = tmp_path / "out"
    folder.mkdir()
    words = "scan_train.h5: slice 1: values are NaN or infinite: leave it out, or repair it"
    with pytest.raises(ValueError, match=words):
        list(make_all(folder, manifest))
    assert scan_path(folder, good).exists() and not scan_path(folder, bad).exists()


def test_images_that_are_not_finite_are_refused_by_name(tmp_path):
    path = write_images(tmp_path / "images_train.h5")
    with h5py.File(path, "a") as file:
        slices = file["slices"][()].astype(np.float32)
        slices[3, 5, 5] = np.nan
        del file["slices"]
        file["slices"] = slices
    with pytest.raises(ValueError, match=r"train\.h5: slice 3: values are NaN or infinite"):
        manifest_of(path)
