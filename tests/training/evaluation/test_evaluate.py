"""Judging systems: every system of the paper in one CSV, resumed, on slices of any size."""

import csv

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from jrsr_core.models.names import has_weights
from jrsr_core.models.registry import build_model
from jrsr_core.simulation.phantoms import brain_phantom
from jrsr_core.simulation.protocols import PROTOCOLS
from jrsr_core.weights.save import save_weights
from tests.helpers.paths import ROOT
from training.data.sources import open_source
from training.data.testset import find_slices, read_slice, scan_slice
from training.errors import UsageError
from training.evaluation import evaluate
from training.evaluation.earlier_rows import HEADER
from training.evaluation.evaluate import UPPER_REFERENCE, Evaluation
from training.evaluation.figures import (
    Panel,
    check_figure,
    draw_figure,
    lay_out,
    most_detailed,
    parse_part,
    save_figure,
)
from training.evaluation.paper import (
    ABLATION,
    COMPARISON,
    paper_figures,
    published_systems,
    table_number,
)
from training.evaluation.rows import COLUMNS, read_rows, summarise
from training.evaluation.tables import (
    PAPER_HEADING,
    compare_systems,
    latex,
    make_table,
    markdown,
    paper_tables,
)

PAPER = (*ABLATION, *COMPARISON, "jrsr", "jrsr-dc")


def change_pixels(path, change, kind=np.float32):
    """Change the slices of a stack in place, as numbers of this kind."""
    with h5py.File(path, "a") as file:
        slices = file["slices"][()].astype(kind)
        change(slices)
        del file["slices"]
        file["slices"] = slices


def write_images(path, shape, n, subjects=None):
    phantom = (255 * brain_phantom(shape)).to(torch.uint8).numpy().T
    with h5py.File(path, "w") as file:
        file["slices"] = np.stack([np.roll(phantom, 3 * i, 0) for i in range(n)])
        if subjects:
            file["subject"] = subjects
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two files: three slices of 64 x 72 of two subjects, two of odd size without names."""
    folder = tmp_path_factory.mktemp("data")
    write_images(folder / "a.h5", (64, 72), 3, [b"x", b"x", b"y"])
    write_images(folder / "b.h5", (67, 81), 2)
    return folder


@pytest.fixture(scope="module")
def systems(tmp_path_factory):
    """Every system of the paper with tiny untrained weights, as LABEL=SYSTEM."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    texts = []
    for name in PAPER:
        if not has_weights(name):
            texts.append(name)
            continue
        parts = name.split("+") if name in COMPARISON else [name]
        cards = []
        for part in parts:
            card = folder / f"{part}_tiny.json"
            if has_weights(part) and not card.exists():
                save_weights(build_model(part, preset="tiny"), folder, part, "tiny")
            cards.append(str(card) if has_weights(part) else part)
        texts.append(f"{name}={'+'.join(cards)}")
    return texts


@pytest.fixture(scope="module")
def table_rows(systems, data, tmp_path_factory):
    """A complete run over three slices."""
    out = tmp_path_factory.mktemp("rows") / "rows.csv"
    list(Evaluation([*systems, UPPER_REFERENCE], "brain-5x", data, out, 3))
    return out


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_complete_run_has_every_cell(table_rows, systems):
    rows = rows_of(table_rows)
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 3 * (len(systems) + 1)
    for row in rows:
        assert np.isfinite(
            [float(row[c]) for c in ("psnr", "ssim", "nmse", "kspace_residual")]
        ).all()
        assert 0 <= float(row["resolution"]) <= 1
        assert row["resolution_mm"] == "", "the file has no pixel_mm"
        assert float(row["seconds_total"]) >= float(row["seconds_calibration"]) > 0
        assert row["seconds_rec"], row["model"]
        n_parts = row["weights_sha256"].count("+") + bool(row["weights_sha256"])
        sides = row["model"].split("+") if row["model"] in COMPARISON else [row["model"]]
        assert n_parts == (0 if row["model"] == UPPER_REFERENCE else sum(map(has_weights, sides)))
        assert row["squeezenet_distance"] == row["lpips"] == "", "no weights were given for them"


def test_the_resolution_is_in_millimetres_where_the_pixel_is_known(data, tmp_path):
    file = tmp_path / "slices.h5"
    source = data if data.is_file() else next(p for p in data.iterdir() if p.suffix == ".h5")
    file.write_bytes(source.read_bytes())
    with h5py.File(file, "r+") as opened:
        opened.attrs["pixel_mm"] = 0.9
    (row,) = Evaluation(["zero-filled+sinc"], "brain-5x", file, tmp_path / "rows.csv", 1)
    share = float(row["resolution"])
    assert 0 < share < 1
    assert float(row["resolution_mm"]) == pytest.approx(0.9 / share, rel=1e-3)
    table = make_table(tmp_path / "rows.csv")
    assert "resolution [HR Nyquist]" in table.headings and "resolution [mm]" in table.headings


def test_a_run_is_deterministic(table_rows, systems, data, tmp_path):
    chosen = [t for t in systems if t.startswith(("t2net", "modl+medsrgan", "recon="))]
    again = list(Evaluation(chosen, "brain-5x", data, tmp_path / "again.csv", 1))
    before = {(r["model"], r["file"], r["slice"]): r for r in rows_of(table_rows)}
    for row in again:
        old = before[row["model"], row["file"], str(row["slice"])]
        assert (row["psnr"], row["ssim"]) == (old["psnr"], old["ssim"])


def test_tables_of_the_paper(table_rows):
    table = make_table(table_rows, kind="ablation", proposed="jrsr")
    assert [row[1] for row in table.cells] == [*ABLATION, "jrsr"]
    table = make_table(table_rows, kind="comparison", proposed="jrsr")
    assert [row[1] for row in table.cells] == [*COMPARISON, "jrsr"]
    assert "LPIPS" not in table.headings, "no column of nothing"
    text = markdown(make_table(table_rows, proposed="jrsr"))
    widths = {line.count("|") for line in text.splitlines()}
    assert len(widths) == 1 and text.count("**") >= 4
    source = latex(table)
    assert source.count(r"\\") == 1 + len(COMPARISON) + 1
    assert r"\textbf{" in source and r"$\pm$" in source and "±" not in source
    assert source.count("{") == source.count("}")


def test_figures_of_the_paper_stand_beside_ours(table_rows):
    plain, table = make_table(table_rows), make_table(table_rows, paper=True)
    assert table.headings == [*plain.headings, PAPER_HEADING]
    assert [cells[:-1] for cells in table.cells] == plain.cells and table.bold == plain.bold
    reported = {cells[1]: cells[-1] for cells in table.cells}
    assert reported["jrsr"] == "30.32 / 0.8682 / 0.0409 / 0.0775"
    assert reported["sr"] == "28.88 / 0.8462 / 0.0559", "tables 1 and 2 have no seconds"
    not_the_papers = {name for name, cell in reported.items() if not cell}
    assert not_the_papers == {"recon+sr-sft", "jrsr-dc", UPPER_REFERENCE} & reported.keys()


def test_one_table_of_the_paper_per_kind_and_protocol(table_rows):
    results = ROOT / "training" / "results"
    paths = [results / f"{p}_published_rows.csv" for p in ("wall-16x", "brain-5x")]
    tables = paper_tables(paths, "all", None)
    assert list(tables) == [
        "Table 1. Ablation, brain-5x",
        "Table 2. Ablation, wall-16x",
        "Table 3. Comparison, brain-5x",
        "Table 4. Comparison, wall-16x",
    ]
    for caption, table in tables.items():
        kind = ABLATION if "Ablation" in caption else COMPARISON
        protocol = caption.split(", ")[1]
        named = [name if name == "cg-sense+bicubic" else f"{name}@{protocol}" for name in kind]
        ours = ["jrsr", "jrsr-dc", f"jrsr-dc@{protocol}", f"jrsr@{protocol}"]
        assert [cells[1] for cells in table.cells] == [*named, *ours]
        assert {cells[0] for cells in table.cells} == {protocol}
        reported = {cells[1]: cells[-1] for cells in table.cells}
        assert reported["jrsr"] == paper_figures()[protocol, "jrsr"]
    assert list(paper_tables([table_rows], "ablation", "sr")) == ["Table 1. Ablation, brain-5x"]
    with pytest.raises(ValueError, match="another file has rows of brain-5x as well"):
        paper_tables([paths[1], table_rows], "all", None)
    with pytest.raises(ValueError, match="protocol is 'knee', the paper's tables are of"):
        table_number("knee", "ablation")
    numbers = [table_number(p, kind) for kind in ("ablation", "comparison") for p in PROTOCOLS]
    assert numbers == [1, 2, 3, 4]


def test_rows_of_several_sets_stand_side_by_side(tmp_path):
    names = ("jrsr", "jrsr@brain-5x", "recon+sr@brain-5x", "recon+sr@brain-5x-gan", "sr@brain-5x")
    rows = [(name, "s", i, 30 + i, 1) for name in names for i in range(2)]
    path = write_rows(tmp_path / "rows.csv", rows)
    (table,) = paper_tables([path], "ablation", None).values()
    assert [cells[1] for cells in table.cells] == [
        *("sr@brain-5x", "recon+sr@brain-5x", "recon+sr@brain-5x-gan", "jrsr", "jrsr@brain-5x")
    ]
    assert table.cells[2][-1] == table.cells[1][-1] == "29.40 / 0.8625 / 0.0482"


@pytest.mark.parametrize("protocol", ["brain-5x", "wall-16x"])
def test_without_models_every_row_is_judged(protocol, data, tmp_path):
    systems = published_systems(protocol)
    judged = {name.removesuffix(f"@{protocol}") for name in systems}
    assert {*PAPER, "cg-sense+sinc", UPPER_REFERENCE} <= judged
    assert systems[-2:] == ["jrsr-dc", "jrsr"] and len(systems) == len(set(systems))
    run = Evaluation(systems, protocol, data / "a.h5", tmp_path / "rows.csv", 1)
    n_fine_tuned = sum("-gan" in name for name in systems)
    assert len(run) == len(systems) == 4 + 16 + n_fine_tuned + 2
    hashes = {
        label: system.recon.cards[0].sha256
        for label, system in run.systems.items()
        if system.recon.cards
    }
    assert len(set(hashes.values())) == 18 + n_fine_tuned, "a name takes the weights of another"


def test_the_paper_has_every_system_on_both_protocols():
    expected = {"jrsr", *COMPARISON, *ABLATION} - {"recon+sr-sft"}
    for protocol in ("brain-5x", "wall-16x"):
        assert {s for p, s in paper_figures() if p == protocol} == expected


def test_an_interrupted_run_goes_on(data, tmp_path):
    out, models = tmp_path / "rows.csv", ["zero-filled+sinc", "cg-sense+bicubic"]
    run = iter(Evaluation(models, "brain-5x", data, out, 3))
    next(run), next(run), next(run)
    run.close()
    out.write_bytes(out.read_bytes() + b"cg-sense+bicubic,brain-5x,a,x,")
    rest = Evaluation(models, "brain-5x", data, out, 3)
    assert len(rest) == 3
    list(rest)
    keys = [(r["model"], r["file"], r["slice"]) for r in rows_of(out)]
    assert len(keys) == len(set(keys)) == 6
    assert len(Evaluation(models, "brain-5x", data, out, 3)) == 0


def test_rows_of_other_weights_or_columns_are_not_mixed(data, tmp_path):
    for seed in (1, 2):
        torch.manual_seed(seed)
        folder = tmp_path / str(seed)
        save_weights(build_model("sr", preset="tiny"), folder, "sr", "tiny")
    out = tmp_path / "rows.csv"
    list(Evaluation([f"sr={tmp_path / '1' / 'sr_tiny.json'}"], "brain-5x", data, out, 1))
    with pytest.raises(UsageError, match=r"rows of sr have weights \w+, the system has \w+"):
        Evaluation([f"sr={tmp_path / '2' / 'sr_tiny.json'}"], "brain-5x", data, out, 1)
    out.write_text("model,psnr\n")
    with pytest.raises(ValueError, match="columns are not those of this version"):
        Evaluation(["cg-sense+sinc"], "brain-5x", data, out, 1)


def test_rows_of_another_file_of_the_same_name_are_not_taken_for_done(data, tmp_path):
    other = write_images(tmp_path / "a.h5", (72, 64), 3)
    out, models = tmp_path / "rows.csv", ["zero-filled+sinc"]
    list(Evaluation(models, "brain-5x", data / "a.h5", out))
    moved = tmp_path / "elsewhere" / "a.h5"
    moved.parent.mkdir()
    moved.write_bytes((data / "a.h5").read_bytes())
    assert len(Evaluation(models, "brain-5x", moved, out)) == 0
    with pytest.raises(
        UsageError, match=r"slice 0 of a has pixels \w+, that of .* has \w+"
    ) as caught:
        Evaluation(models, "brain-5x", other, out)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("before", [None, b"", b"model,sc", HEADER], ids=str)
def test_the_file_begins_with_its_first_row(data, tmp_path, before, monkeypatch):
    out, models = tmp_path / "rows.csv", ["zero-filled+sinc"]
    if before is not None:
        out.write_bytes(before)

    def fails(*_):
        raise ValueError("no image")

    with monkeypatch.context() as patch, pytest.raises(ValueError, match="no image"):
        patch.setattr(evaluate, "evaluate_slice", fails)
        list(Evaluation(models, "brain-5x", data / "a.h5", out, 2))
    assert (out.read_bytes() if out.exists() else None) == before
    list(Evaluation(models, "brain-5x", data / "a.h5", out, 2))
    assert out.read_bytes().startswith(HEADER) and len(rows_of(out)) == 2


def test_no_folder_is_made_and_no_other_file_replaced(data, tmp_path):
    judged = (["zero-filled+sinc"], "brain-5x", data / "a.h5")
    with pytest.raises(FileNotFoundError, match="none does not exist"):
        Evaluation(*judged, tmp_path / "none" / "rows.csv", 1)
    assert not list(tmp_path.iterdir())
    for content in (b"notes", b"\xff\n"):
        other = tmp_path / "other"
        other.write_bytes(content)
        with pytest.raises(UsageError, match="other: this is no CSV of evaluate; choose another"):
            Evaluation(*judged, other, 1)
        assert other.read_bytes() == content


def test_the_bound_is_the_bound_under_any_name(data, tmp_path):
    out, a = tmp_path / "rows.csv", data / "a.h5"
    models = [f"bound={UPPER_REFERENCE}", f"{UPPER_REFERENCE}=zero-filled+sinc", "zero-filled+sinc"]
    rows = list(Evaluation(models, "brain-5x", a, out, 1))
    bound, misnamed, plain = (float(row["psnr"]) for row in rows)
    assert bound > misnamed == plain
    assert [row["scan"] for row in rows] == ["fully sampled", "undersampled", "undersampled"]
    table = make_table(out)
    assert {table.cells[i][1] for i, _ in table.bold} == {UPPER_REFERENCE, "zero-filled+sinc"}
    pictures = [
        pictures_of(draw_figure([m], "brain-5x", a, 0)) for m in (UPPER_REFERENCE, models[0])
    ]
    assert all(map(np.array_equal, *pictures))
    with pytest.raises(ValueError, match="rows of bound have scan fully sampled, the system has u"):
        Evaluation(["bound=zero-filled+sinc"], "brain-5x", a, out, 1)


def pictures_of(figure):
    """The arrays of all pictures of a figure, as they are shown."""
    return [np.asarray(image.get_array()) for ax in figure.axes for image in ax.get_images()]


def write_rows(path, rows, columns=("model", "protocol", "file", "subject", "slice", "psnr")):
    """Write rows of (model, subject, slice, psnr, seconds) with the columns of an older CSV."""
    lines = [",".join((*columns, "seconds_total"))]
    lines += [f"{m},brain-5x,a,{who},{n},{psnr},{seconds}" for m, who, n, psnr, seconds in rows]
    path.write_text("\n".join(lines))
    return path


class TestTableOfRows:
    """What a table makes of given rows, here of a CSV from before the newest columns."""

    def test_one_slow_slice_does_not_rule_the_seconds(self, tmp_path):
        seconds = [0.3, 0.4, 0.5, 100.0, 0.2]
        rows = [("jrsr", "s", i, 30, x) for i, x in enumerate(seconds)]
        path = write_rows(tmp_path / "rows.csv", rows)
        assert summarise(path)[0]["seconds_total"][0] == 0.4
        table = make_table(path)
        assert table.cells[0][table.headings.index("median s / slice")] == "0.40"

    def test_bold_is_for_systems_judged_on_the_same_slices(self, tmp_path):
        rows = [("few", "s", 0, 40, 1)]
        rows += [(m, "s", i, x, 1) for m, x in (("a", 20), ("b", 30)) for i in range(3)]
        rows += [(UPPER_REFERENCE, "s", i, 50, 1) for i in range(4)]
        table = make_table(write_rows(tmp_path / "rows.csv", rows))
        assert {table.cells[i][1] for i, _ in table.bold} == {"b"}

    def test_the_bound_alone_is_not_bold(self, tmp_path):
        path = write_rows(
            tmp_path / "rows.csv", [(UPPER_REFERENCE, "s", i, 50, 1) for i in range(2)]
        )
        assert not make_table(path).bold

    def test_a_file_without_subjects_is_one_subject(self, tmp_path, data):
        rows = [(m, "", i, x + i, 1) for m, x in (("a", 20), ("b", 30)) for i in range(9)]
        path = write_rows(tmp_path / "rows.csv", rows)
        old = compare_systems(read_rows(path), "brain-5x", "a", "b")
        assert old.n_subjects == 1 and np.isnan(old.p_value)
        assert {address.subject for address in find_slices(data / "b.h5")} == {"b"}


def test_distances_fill_their_columns(data, tmp_path):
    def mean_difference(image, truth):
        return (image - truth).abs().mean((-2, -1))

    distances = {"squeezenet_distance": mean_difference}
    out = tmp_path / "rows.csv"
    run = Evaluation(["cg-sense+sinc"], "brain-5x", data, out, 2, distances)
    assert all(float(row["squeezenet_distance"]) > 0 for row in run)
    table = markdown(make_table(out))
    assert "SqueezeNet distance" in table


def test_a_distance_is_not_left_out_of_rows_that_are_there(data, tmp_path):
    out, given = tmp_path / "rows.csv", {"lpips": lambda x, t: torch.tensor([0.25])}
    systems, a = ["zero-filled+sinc"], data / "a.h5"
    list(Evaluation(systems, "brain-5x", a, out, 1))
    with pytest.raises(UsageError, match=r"rows of zero-filled.sinc were written without lpips"):
        Evaluation(systems, "brain-5x", a, out, 2, given)
    others = Evaluation(["cg-sense+sinc"], "brain-5x", a, out, 2, given)
    assert [row["lpips"] for row in others] == ["0.250000"] * 2
    assert len(Evaluation(["cg-sense+sinc"], "brain-5x", a, out, 2, given)) == 0
    assert len(Evaluation(systems, "wall-16x", a, out, 2, given)) == 2


@pytest.mark.parametrize(
    ("shape", "change", "words"),
    [
        ((64, 72), lambda slices: slices[1].fill(0.7), "slice 1: zero-filled image is zero"),
        ((8, 8), lambda slices: slices.fill(0.7), "slice 0: "),
    ],
)
def test_a_slice_that_cannot_be_judged_is_named(tmp_path, shape, change, words):
    path = write_images(tmp_path / "odd.h5", shape, 2)
    change_pixels(path, change)
    run = Evaluation(["cg-sense+sinc"], "brain-5x", path, tmp_path / "rows.csv")
    with pytest.raises(ValueError, match=rf"^{path}: {words}") as caught:
        list(run)
    assert "\n" not in str(caught.value)


class TestFindingSlices:
    """Files, folders, sizes."""

    def test_a_folder_is_all_its_files(self, data):
        found = find_slices(data)
        assert [(a.file, a.index) for a in found] == [
            *(("a", i) for i in range(3)),
            *(("b", i) for i in range(2)),
        ]
        assert [a.subject for a in found] == ["x", "x", "y", "b", "b"]
        assert [a.file for a in find_slices(data, 2)] == ["a", "b"]

    def test_odd_and_small_sizes(self, data, tmp_path):
        odd = scan_slice(find_slices(data / "b.h5")[0], "brain-5x").scan
        assert odd.truth.shape == (66, 80)
        small = write_images(tmp_path / "small.h5", (40, 44), 1)
        for protocol in ("brain-5x", "wall-16x"):
            scan = scan_slice(find_slices(small)[0], protocol).scan
            assert scan.truth.shape == (40, 44)

    def test_subjects_may_be_numbers(self, tmp_path):
        path = write_images(tmp_path / "a.h5", (40, 44), 2)
        with h5py.File(path, "a") as file:
            file["subject"] = np.array([7, 12])
        assert [a.subject for a in find_slices(path)] == ["7", "12"]

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_pixels_that_are_not_finite_are_named_before_any_work(self, tmp_path, value):
        path = write_images(tmp_path / "a.h5", (40, 44), 2)
        change_pixels(path, lambda slices: slices.__setitem__((1, 3, 3), value))
        with pytest.raises(ValueError, match=r"a\.h5: slice 1: values are NaN or infinite"):
            find_slices(path)

    def test_complex_and_negative_pixels_are_what_they_are_in_training(self, tmp_path):
        path = write_images(tmp_path / "a.h5", (40, 44), 3)
        with h5py.File(path) as file:
            expected = file["slices"][()].astype(np.float32)
        phase = np.exp(1j * np.linspace(0, 9, expected.size).reshape(expected.shape))
        change_pixels(path, lambda slices: slices.__imul__(phase), np.complex64)
        for address in find_slices(path):
            wanted = torch.from_numpy(expected[address.index].T / expected[address.index].max())
            for image in (read_slice(address), open_source(path).read(address.index)):
                torch.testing.assert_close(image, wanted, rtol=1e-5, atol=1e-6)
        below = write_images(tmp_path / "b.h5", (40, 44), 3)
        change_pixels(below, lambda slices: slices[0].__imul__(-1))
        change_pixels(below, lambda slices: slices[1, :9].__isub__(500))
        first = next(iter(find_slices(below)))
        assert first.index == 1, "a slice without a positive pixel has no signal"
        assert float(read_slice(first)[:, :9].max()) == 0 < float(read_slice(first).max())
        assert torch.equal(read_slice(first), open_source(below).read(1))

    def test_empty_slices_do_not_count(self, tmp_path):
        path = write_images(tmp_path / "a.h5", (40, 44), 2)
        with h5py.File(path, "a") as file:
            file["slices"][0] = 0
        assert [a.index for a in find_slices(path)] == [1]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda f: f.pop("slices"), "no data set 'slices', found"),
            (
                lambda f: f.__setitem__("subject", [b"x"]),
                r"'subject' is \(1,\), expected \(2,\): one per slice",
            ),
            (lambda f: f["slices"].__setitem__(slice(None), 0), "no slice with signal"),
        ],
    )
    def test_other_layouts_are_refused(self, tmp_path, change, message):
        path = write_images(tmp_path / "a.h5", (40, 44), 2)
        with h5py.File(path, "a") as file:
            change(file)
        with pytest.raises(ValueError, match=message):
            find_slices(path)

    def test_nothing_there(self, tmp_path):
        with pytest.raises(ValueError, match="no HDF5 files"):
            find_slices(tmp_path)
        with pytest.raises(FileNotFoundError, match="no such file or folder"):
            find_slices(tmp_path / "none.h5")


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (["a=cg-sense+sinc", "a=cg-sense+bicubic"], "model a is listed twice"),
        (["modl+sinc"], r"no weights for modl\+sinc"),
        (["cg-sens+bicubic"], r"did you mean .cg-sense\+bicubic"),
    ],
)
def test_systems_that_cannot_run_are_refused_before_the_first_slice(
    models, message, data, tmp_path
):
    with pytest.raises(ValueError, match=message):
        Evaluation(models, "brain-5x", data, tmp_path / "rows.csv")
    assert not (tmp_path / "rows.csv").exists()


class TestTableErrors:
    """What a CSV cannot give."""

    def test_one_line_each(self, table_rows, tmp_path):
        with pytest.raises(ValueError, match="table is 'tables', known: all, ablation"):
            make_table(table_rows, kind="tables")
        with pytest.raises(ValueError, match="no row of the proposed system unet, there are: sr"):
            make_table(table_rows, proposed="unet")
        other = tmp_path / "other.csv"
        other.write_text("a,b\n1,2\n")
        with pytest.raises(ValueError, match="no column 'model'"):
            make_table(other)
        other.write_text(",".join(COLUMNS) + "\n")
        with pytest.raises(ValueError, match="no rows"):
            make_table(other)

    def test_no_system_of_the_kind(self, tmp_path):
        path = tmp_path / "rows.csv"
        path.write_text(
            "model,protocol,slice,psnr,ssim,nmse\ncg-sense+sinc,brain-5x,0,20,0.5,0.1\n"
        )
        with pytest.raises(ValueError, match="no row of a system of the ablation table: sr, recon"):
            make_table(path, kind="ablation")


class TestFigure:
    """Pictures like the paper's."""

    def test_every_system_has_image_part_and_error(self, data):
        models = ["a=cg-sense+bicubic", "zero-filled+sinc"]
        lpips = {"lpips": lambda x, t: torch.tensor([0.25])}
        figure = draw_figure(models, "brain-5x", data, 1, zoom="10,12,16", distances=lpips)
        image, part, error, *others = pictures_of(figure)
        assert len(others) == 3 + 2, "the truth has no error"
        np.testing.assert_array_equal(part, image[10:26, 12:28])
        truth = others[-2]
        np.testing.assert_allclose(error, 100 * abs(image - truth) / truth.max(), rtol=1e-5)
        names = [text.get_text().splitlines() for text in figure.texts]
        assert [lines[0] for lines in names] == ["a", "zero-filled+sinc", "ground truth"]
        assert names[0][1].endswith(" dB") and names[0][2] == "LPIPS 0.2500"
        assert any("5 x as bright" in ax.get_xlabel() for ax in figure.axes)

    def test_labels_stay_whole_and_cards_become_names(self, data, tmp_path):
        torch.manual_seed(0)
        card = save_weights(build_model("sr", preset="tiny"), tmp_path, "sr", "tiny")
        models = ["v1.0=zero-filled+sinc", "v1.5=cg-sense+sinc", str(card)]
        figure = draw_figure(models, "brain-5x", data / "a.h5", 0)
        names = [text.get_text().splitlines()[0] for text in figure.texts]
        assert names == ["v1.0", "v1.5", "sr_tiny", "ground truth"]

    @pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
    def test_the_file_name_chooses_the_format(self, suffix, tmp_path):
        figure = lay_out([Panel("truth", torch.rand(40, 48), [])], (2, 3, 10))
        assert figure.get_size_inches()[0] * 25.4 == pytest.approx(85)
        files = [tmp_path / f"{name}{suffix}" for name in "ab"]
        for path in files:
            check_figure(path)
            save_figure(figure, path)
        start = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}[suffix]
        assert files[0].read_bytes().startswith(start)
        if suffix != ".svg":
            assert files[0].read_bytes() == files[1].read_bytes()
        with pytest.raises(FileExistsError, match="exists, --overwrite replaces it"):
            check_figure(files[0])
        with pytest.raises(FileExistsError):
            save_figure(figure, files[0])
        check_figure(files[0], overwrite=True)
        save_figure(figure, files[0], overwrite=True)
        with pytest.raises(ValueError, match=r"figures are \.png, \.pdf, \.svg files"):
            check_figure(tmp_path / "a.jpeg")

    def test_pixels_per_inch_of_a_png(self, tmp_path):
        figure = lay_out([Panel("truth", torch.rand(40, 48), [])], (2, 3, 10))
        save_figure(figure, tmp_path / "a.png", 120)
        with Image.open(tmp_path / "a.png") as picture:
            assert picture.width == pytest.approx(120 * 85 / 25.4, abs=1)

    def test_the_part_is_where_the_detail_is(self):
        truth = torch.zeros(40, 48)
        truth[30:38:2, 4:12:2] = 1
        y, x, size = most_detailed(truth)
        assert size == 10 and 25 <= y <= 30 and 0 <= x <= 4

    def test_what_is_outside_is_refused(self, data):
        with pytest.raises(ValueError, match="zoom is '1,2', expected y,x,size"):
            parse_part("1,2", (40, 40))
        with pytest.raises(ValueError, match="zoom 35,2,10 leaves the image of 40 x 40"):
            parse_part("35,2,10", (40, 40))
        with pytest.raises(ValueError, match=r"slice 9 asked for, .* has 5 with signal"):
            draw_figure(["cg-sense+sinc"], "brain-5x", data, 9)
