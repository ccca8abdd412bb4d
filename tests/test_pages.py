"""The pages are true: links, anchors, files, options, settings, ranges that they name exist."""

import json
import re
from contextlib import redirect_stdout
from functools import cache
from io import StringIO

import pytest
from typer.testing import CliRunner

from gadget.cli import main as jrsr_cli
from gadget.settings import Settings
from jrsr_core.models.names import MODEL_NAMES
from jrsr_core.weights.sets import weight_sets
from tests.helpers.pages import anchors, blocks, code_spans, commands, links, pages, text_of
from tests.helpers.paths import ROOT
from training.commands import app as training_app
from training.config.groups import RunConfig

TESTS = ROOT / "tests"
TESTS_PAGE = text_of(next(p for p in pages() if str(p) == "tests/README.md"))
README = next(p for p in pages() if str(p) == "README.md")
RESULTS = ("README", "detail", "development", "paper", "range", "real_scans")
WITH_COMMITS = (
    *(f"training/results/{name}.md" for name in RESULTS),
    "tests/README.md",
    "tests/benchmarks/README.md",
)
"""Pages of measurements, which name the commit of the code that was measured."""

every_page = pytest.mark.parametrize("page", pages(), ids=str)


@every_page
def test_links_lead_to_files_and_headings(page):
    broken = []
    for link in links(page):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = link.partition("#")
        target = (ROOT / page.parent / name).resolve() if name else ROOT / page
        if not target.exists() or not target.is_relative_to(ROOT):
            broken.append(link)
        elif anchor and anchor not in anchors(target.relative_to(ROOT)):
            broken.append(link)
    assert broken == []


def test_every_page_is_reached_from_the_readme():
    reached, waiting = set(), [README]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        for link in links(page):
            target = (ROOT / page.parent / link.partition("#")[0]).resolve()
            if target.is_relative_to(ROOT) and target.relative_to(ROOT) in pages():
                found = target.relative_to(ROOT)
                waiting += [found] if found not in reached else []
    assert sorted(set(pages()) - reached) == []


@every_page
def test_commit_hashes_stand_on_pages_of_measurements_alone(page):
    if str(page) not in WITH_COMMITS:
        assert re.findall(r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{7}\b", text_of(page)) == []


@every_page
def test_settings_exist(page):
    text = text_of(page)
    named = re.findall(r"--set (?:\[)?([a-z_]+)=", text)
    named += re.findall(r'<property name="(\w+)"', text)
    assert [n for n in named if n not in Settings.model_fields] == []


@every_page
def test_settings_of_recipes_exist(page):
    groups = {k for k, f in RunConfig.model_fields.items() if hasattr(f.annotation, "model_fields")}
    wrong = []
    for name in re.findall(r"(?<![\w/.])([a-z_]+(?:\.[a-z_]+)+)(?==|`)", text_of(page)):
        first, *rest = name.split(".")
        if first not in groups:
            continue
        model = RunConfig.model_fields[first].annotation
        for part in rest:
            fields = getattr(model, "model_fields", {})
            if part not in fields:
                wrong.append(name)
                break
            model = fields[part].annotation
    assert wrong == []


@cache
def help_of(program, *command):
    """The help of a program, or of one of its commands."""
    if program == "jrsr-train":
        return CliRunner().invoke(training_app, [*command, "--help"]).output
    with redirect_stdout(StringIO()) as printed:
        jrsr_cli.run([*command, "--help"])
    return printed.getvalue()


def options(program, *command):
    return set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", help_of(program, *command)))


def subcommands(program):
    return re.findall(r"^  ([a-z]+) ", help_of(program).partition("Commands:")[2], re.MULTILINE)


@cache
def all_options():
    found = [options(p, c) for p in PROGRAMS for c in subcommands(p)]
    return set().union(*found, *map(options, PROGRAMS))


def test_help_is_set_in_lines():
    # A paragraph after the mark "\\b" keeps its lines; the mark itself is not shown.
    for program in PROGRAMS:
        for command in subcommands(program):
            text = help_of(program, command)
            assert "\\b" not in text and "\b" not in text, (program, command)


PROGRAMS = ("jrsr", "jrsr-train")
OF_OTHERS = ("docker ", "python -m ", "torchrun ", "buildah", "ray ", "conda ", "git ", "aws ")
FOREIGN = {"--build-arg", "--gpus", "--transpose", "--scaling", "-c"}
"""Options of Docker, the benchmarks and Gadgetron's client, where the text names them alone."""


@every_page
def test_options_exist(page):
    wrong = []
    for text in [c.text for c in commands(page)] + code_spans(page):
        named = [w.partition("=")[0] for w in text.split() if re.match(r"--?[a-z]", w)]
        program, *words = text.split()
        if text.startswith(OF_OTHERS) or not named:
            continue
        known = all_options()
        if program in PROGRAMS and words and words[0] in subcommands(program):
            known = options(program, words[0])
        elif program in PROGRAMS:
            known = options(program)
        elif not program.startswith("-"):
            continue
        wrong += [f"{text}: {n}" for n in named if n not in known | FOREIGN]
    assert wrong == []


@every_page
def test_models_exist(page):
    known = set(MODEL_NAMES)
    wrong = []
    for name in re.findall(r"--model ([\w+@-]+)(?=[\s`]|$)", text_of(page), re.MULTILINE):
        base, _, chosen = name.partition("@")
        if base.isupper() or base in ("NAME", "SYSTEM", "RECON+UPSAMPLE"):
            continue
        if base.removesuffix("+dc") not in known or (chosen and chosen not in weight_sets()):
            wrong.append(name)
    assert wrong == []


@every_page
def test_benchmarks_exist(page):
    named = re.findall(r"tests\.benchmarks\.(\w+)", text_of(page))
    assert [n for n in named if n != "NAME" and not (TESTS / f"benchmarks/{n}.py").is_file()] == []


@every_page
def test_files_named_in_code_exist(page):
    folders = ("gadget/", "jrsr_core/", "training/", "tests/", "xml_chains/", "docker/")
    named = [s for s in code_spans(page) if s.startswith(folders) and re.fullmatch(r"[\w/.+-]+", s)]
    places = (ROOT, ROOT / page.parent)
    assert [s for s in named if not any((place / s).exists() for place in places)] == []


@every_page
def test_python_blocks_are_python(page):
    for code in blocks(page, "python"):
        compile(code, str(page), "exec")


OF_OTHER_PROGRAMS = (
    "Connection refused",
    "Failed to store item",
    "Failed to connect to service",
    "Operation canceled",
    "write: Bad file descriptor",
    "ray client connection",
    "Failed to connect to Ray",
)
"""Messages of the system, of Gadgetron and of Ray."""


@cache
def source_text():
    """The source of the packages without docstrings, texts that are spread over lines joined."""
    files = [p for name in ("gadget", "jrsr_core") for p in sorted((ROOT / name).rglob("*.py"))]
    text = re.sub(r'""".*?"""', "", "\n".join(p.read_text("utf-8") for p in files), flags=re.DOTALL)
    return re.sub(r'"\s*\n\s*f?"', "", text)


@pytest.mark.parametrize("name", ["README.md", "gadget/docs/troubleshooting.md"])
def test_messages_are_those_of_the_source(name):
    text = next(text_of(p) for p in pages() if str(p) == name)
    text = text.partition("## Troubleshooting")[2].partition("\n## ")[0] or text
    cells = re.findall(r"^\| (.*?) \|", text, re.MULTILINE)
    messages = [m for cell in cells for m in re.findall(r"`([^`]+)`", cell)]
    assert len(messages) >= 5
    pieces = [p.strip() for m in messages for p in m.split("...")]
    lost = [p for p in pieces if p not in source_text() and not p.startswith(OF_OTHER_PROGRAMS)]
    assert lost == []


def test_the_range_of_the_readme_is_that_of_the_card():
    card = json.loads((ROOT / "jrsr_core/weights/jrsr-dc_compact.json").read_text("utf-8"))
    rows = {
        "receive coils": "n_coils",
        "acceleration": "acceleration",
        "calibration lines": "n_acs",
        "output matrix": "hr_size",
        "signal-to-noise ratio": "noise_db",
    }
    table = text_of(README).partition("## Is my scan in range?")[2].partition("\n## ")[0]
    for label, name in rows.items():
        (low, high), *_ = re.findall(
            rf"^\| {label}[^|]*\| ([\d.]+) to ([\d.]+)", table, re.MULTILINE
        )
        known_low, known_high = card["range"][name]
        # A fully sampled scan counts as acceleration 1.
        expected = 1 if name == "acceleration" else known_low
        assert (float(low), float(high)) == (expected, known_high), label


def test_the_results_of_the_readme_are_those_of_the_cards():
    table = text_of(README).partition("## Results")[2].partition("\n## ")[0]
    for name in ("jrsr", "jrsr-dc"):
        card = json.loads((ROOT / f"jrsr_core/weights/{name}_compact.json").read_text("utf-8"))
        cells = [
            c.strip(" *") for c in re.search(rf"^\| {name} \|(.+)$", table, re.M)[1].split("|")
        ]
        metrics = card["metrics"]["brain-5x"][name]
        assert cells[0] == f"{metrics['psnr']:.2f}"
        assert cells[1] == f"{metrics['ssim']:.4f}"


def test_the_readme_has_two_commands_to_set_up():
    made = [c.text for c in commands(README) if c.text.startswith("python3 -m venv")]
    assert len(made) == 2
    assert "<!-- test command -->\n```bash\n" + made[1] + "\n```" in text_of(README)


def test_the_readme_stays_short():
    assert len(text_of(README).splitlines()) <= 170


@pytest.mark.parametrize("package", ["jrsr_core", "gadget", "training"])
def test_every_room_is_on_the_page_about_the_code(package):
    page = (ROOT / "jrsr_core/docs/code.md").read_text()
    table = page.partition(f"| `{package}/` |")[2].partition("\n\n")[0]
    cells = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    named = [name for cell in cells for name in re.findall(r"`([\w/]+)`", cell)]
    top = ROOT / package
    packages = {str(path.parent.relative_to(top)) for path in top.rglob("__init__.py")} - {"."}
    modules = {path.stem for path in top.glob("*.py") if not path.stem.startswith("__")}
    assert sorted((packages | modules) - {*named}) == []
    assert [n for n in named if not (top / n).is_dir() and not (top / f"{n}.py").exists()] == []


def test_the_files_of_promises_exist():
    table = TESTS_PAGE.partition("## Promises")[2].partition("## Benchmarks")[0]
    named = re.findall(r"`([\w/]+\.py)`", table)
    assert named
    assert [n for n in named if not (TESTS / n).is_file()] == []


def test_every_benchmark_is_listed():
    listed = re.findall(
        r"^\| [`(](\w+)[`)] \|", TESTS_PAGE.partition("## Benchmarks")[2], re.MULTILINE
    )
    there = {p.stem for p in (TESTS / "benchmarks").glob("*.py")} - {"__init__"}
    assert sorted(listed) == sorted(there)


def test_the_readme_links_to_the_promises():
    assert "tests/README.md#promises" in text_of(README)
