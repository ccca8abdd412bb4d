"""Fresh, varied scans: buckets of one shape, visits, workers, one buffer per batch."""

import multiprocessing
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from jrsr_core.simulation.phantoms import brain_phantom
from jrsr_core.simulation.protocols import PROTOCOLS
from tests.helpers.processes import PATIENCE
from tests.training.conftest import tiny
from training.data.acquire import scan_seed
from training.data.loading.batches import open_data, train_batches, validation_scans
from training.data.loading.fresh import FreshBatches, fresh_entry
from training.data.loading.pool import ScanPool, shape_of
from training.data.prepare import get_scan, scan_path
from training.data.scans import collate, unpack_scan
from training.data.variety.ranges import COIL_COUNTS, SHAPES, Variety
from training.data.variety.vary import draw_scan
from training.runs import fit
from training.runs.checkpoint import read_checkpoint
from training.runs.log import read_log


def scan(shape=(4, 8, 6)):
    """A stand-in with the shapes that decide about a bucket."""
    coil, ny, nx = shape
    return {"kspace": torch.zeros(1, coil, ny, nx, 2), "target": torch.zeros(1, 2 * ny, 2 * nx, 2)}


def test_a_batch_has_one_shape_and_waits_until_it_is_full():
    pool = ScanPool(batch=2, max_visits=3, capacity=10)
    pool.add("a0", scan())
    pool.add("b0", scan((4, 8, 8)))
    pool.add("c0", scan((6, 8, 6)))
    assert pool.take() is None
    pool.add("b1", scan((4, 8, 8)))
    assert [name for name, _ in pool.take()] == ["b0", "b1"]
    assert pool.sizes() == {shape_of(scan()): 1, (4, 8, 8, 16, 16): 2, (6, 8, 6, 16, 12): 1}


def test_every_scan_is_visited_as_often_as_stated_while_none_comes_in():
    pool = ScanPool(batch=2, max_visits=3, capacity=10)
    for i in range(4):
        pool.add(f"a{i}", scan())
    visits = Counter()
    while (items := pool.take()) is not None:
        visits.update(name for name, _ in items)
    assert visits == {f"a{i}": 3 for i in range(4)}
    assert (pool.made, pool.visits, pool.reuse, len(pool)) == (4, 12, 3.0, 0)


def test_scans_give_way_early_where_fresh_ones_keep_up():
    pool = ScanPool(batch=2, max_visits=8, capacity=4)
    for i in range(4):
        pool.add(f"a{i}", scan())
    assert not pool.has_room()  # All are fresh; the workers wait.
    for i in range(4, 104, 2):
        assert len(pool.take()) == 2
        for k in (i, i + 1):
            assert pool.has_room()
            pool.add(f"a{k}", scan())
    assert len(pool) == 4 and pool.reuse == pytest.approx(100 / 104)
    # Those with the fewest visits come first, so that none of 100 visits was a second one.
    assert {p.visits for bucket in pool._buckets.values() for p in bucket} <= {0, 1}


def test_buckets_are_drawn_by_the_visits_that_are_left():
    pool = ScanPool(batch=1, max_visits=1, capacity=1000, seed=3)
    for i in range(300):
        pool.add(f"a{i}", scan())
    for i in range(100):
        pool.add(f"b{i}", scan((4, 8, 8)))
    drawn = Counter(pool.take()[0][0][0] for _ in range(200))
    assert 130 < drawn["a"] < 170


def test_varied_scans_have_a_handful_of_shapes():
    variety = Variety(shapes=SHAPES, coil_counts=COIL_COUNTS, protocol_share=0.0)
    image, generator = brain_phantom((232, 256)), torch.Generator().manual_seed(5)
    found = Counter()
    for _ in range(12):
        made = draw_scan(image, PROTOCOLS["brain-5x"], variety, generator)
        shape = tuple(made.coil_images.shape[1:])
        assert shape in SHAPES and made.mask.shape == (shape[0] // 2, shape[1] // 2)
        n_coils = made.coil_images.shape[0]
        assert n_coils == 6 or n_coils >= 12
        found[shape] += 1
    assert len(found) >= 3
    # The object is not cut by its bucket: no more signal at the border than in the middle.
    free = replace(variety, shapes=(), coil_counts=())
    made = draw_scan(image, PROTOCOLS["brain-5x"], free, generator)
    assert tuple(made.coil_images.shape[1:]) not in SHAPES


def test_a_field_of_view_takes_the_smallest_shape_that_covers_it():
    from training.data.variety.vary import _bucket

    assert _bucket((150, 158), SHAPES) == (160, 160)
    assert _bucket((150, 162), SHAPES) == (208, 208)
    assert _bucket((230, 250), SHAPES) == (232, 256)
    assert _bucket((250, 230), SHAPES) == (256, 232)
    assert _bucket((250, 250), SHAPES) == (304, 304)
    assert _bucket((320, 100), SHAPES) == (304, 304)


def vary(images, out, **changes):
    changes = {"scans__vary": True, "model": "jrsr-dc", "log__validation_slices": 2} | changes
    return tiny(images, out, **changes)


def test_without_workers_the_order_is_that_of_the_seed(images, tmp_path):
    config = vary(images, tmp_path, scans__max_visits=3)
    folder, manifest = open_data(config)
    runs = []
    for _ in range(2):
        batches = FreshBatches(config, folder, manifest, 0)
        runs.append([next(batches) for _ in range(8)])
        assert batches.pool.reuse <= 3
    for one, two in zip(*runs, strict=True):
        assert one.names == two.names
        pair = [vars(batch.to(torch.device("cpu"))) for batch in (one, two)]
        assert all(torch.equal(value, pair[1][key]) for key, value in pair[0].items())
    names = [name for batch in runs[0] for name in batch.names]
    assert max(Counter(names).values()) <= 3 and len(set(names)) > 4
    for first, second in pairwise(runs[0]):
        assert set(first.names) != set(second.names), "a batch was trained twice in a row"
    later = next(FreshBatches(config, folder, manifest, 8))
    assert not set(later.names) & set(names)


def test_fresh_scans_of_one_slice_differ(images, tmp_path):
    config = vary(images, tmp_path)
    _, manifest = open_data(config)
    n = len(manifest.split("train"))
    entries = [fresh_entry(manifest, k) for k in range(3 * n)]
    assert len({e.name for e in entries}) == len({e.seed for e in entries}) == 3 * n
    assert {e.seed for e in entries}.isdisjoint(e.seed for e in manifest.scans)
    # As the constant says, runs of two seeds are the same scans, at other visits.
    later = replace(manifest, acquisition=replace(manifest.acquisition, seed=config.seed + 1))
    seeds = [scan_seed(manifest, entry) for entry in entries]
    assert [scan_seed(later, entry) for entry in entries[:-n]] == seeds[n:]
    assert [scan_seed(later, entry) for entry in manifest.split("train")] == seeds[:n]


def test_the_scans_made_ahead_are_those_of_validation(images, tmp_path):
    config = vary(images, tmp_path, log__validation_slices=2)
    folder, manifest = open_data(config)
    others = [replace(manifest.split("val")[0], name=f"more-{i}") for i in range(5)]
    manifest = replace(manifest, scans=[*manifest.scans, *others])
    next(FreshBatches(config, folder, manifest, 0))
    made = {e.name for e in manifest.scans if scan_path(folder, e).exists()}
    assert made == {name for name, _ in validation_scans(config, folder, manifest)}
    assert len(made) == 2


def test_one_buffer_holds_the_batch(scans, tmp_path):
    config = tiny(scans, tmp_path, steps=1)
    folder, manifest = open_data(config)
    (packed,) = train_batches(config, folder, manifest, 0)
    found = packed.to(torch.device("cpu"))
    entries = {e.name: e for e in manifest.split("train")}
    wanted = unpack_scan(collate([get_scan(folder, manifest, entries[n]) for n in packed.names]))
    assert all(torch.equal(value, getattr(wanted, key)) for key, value in vars(found).items())


@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_on_fresh_scans(images, tmp_path, workers):
    config = vary(images, tmp_path, steps=6, machine__workers=workers, fixed_point__warm_start=True)
    fit(config)
    row = [r for r in read_log(tmp_path) if "loss" in r][-1]
    assert row["fresh_scans"] >= 2 and 0 < row["reuse"] <= 8
    assert 0 <= row["waiting"] < 1 and row["samples_per_second"] > 0
    tensors, state = read_checkpoint(tmp_path)
    assert state.step == 6 and not any(k.startswith("point.") for k in tensors)
    fit(vary(images, tmp_path, steps=7, machine__workers=0, fixed_point__warm_start=True))


def assert_all_end(workers):
    for worker in workers:
        worker.join(PATIENCE)
        assert worker.exitcode == 0


def test_no_worker_outlives_its_run(images, tmp_path):
    before = set(multiprocessing.active_children())
    config = vary(images, tmp_path, steps=400, machine__workers=2)
    batches = FreshBatches(config, *open_data(config), 0)
    next(batches)
    workers = set(multiprocessing.active_children()) - before
    assert len(workers) == 2
    batches.close()
    assert_all_end(workers)


def test_an_error_in_a_worker_ends_the_run(images, tmp_path, monkeypatch):
    before = set(multiprocessing.active_children())
    config = vary(images, tmp_path / "run", steps=400, machine__workers=1)
    folder, manifest = open_data(config)
    broken = replace(manifest, paths=(str(tmp_path / "gone.h5"),))
    batches = FreshBatches(config, folder, broken, 0)
    with pytest.raises((FileNotFoundError, ValueError), match=r"gone\.h5"):
        next(batches)
    batches.close()
    assert_all_end(set(multiprocessing.active_children()) - before)


def test_prepared_scans_are_no_images(scans, tmp_path):
    with pytest.raises(ValueError, match=r"scans\.vary needs images, these scans are prepared"):
        open_data(vary(scans, tmp_path))


def test_a_stated_setting_is_that_of_the_prepared_scans(fixed_batch, tmp_path):
    scans = fixed_batch("wall-16x")
    open_data(tiny(scans, tmp_path, scans__n_coils=0))
    with pytest.raises(ValueError, match="prepared with protocol wall-16x, recipe: brain-5x"):
        open_data(tiny(scans, tmp_path, protocol="brain-5x"))
    with pytest.raises(ValueError, match=r"prepared with scans\.n_coils 4, recipe: 5"):
        open_data(tiny(scans, tmp_path, scans__n_coils=5))
    with pytest.raises(ValueError, match=r"prepared with scans\.truth_maps full, recipe: acs"):
        open_data(tiny(scans, tmp_path, scans__truth_maps="acs"))
