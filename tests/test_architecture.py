"""The floors of the house: which room may import which, and what stays in one place.

A room is a sub-package, or a module directly under a package; a sub-package of a sub-package is a
room of its own, as is a module of one that is named here. An arrow that is not in `ARROWS` fails
the test, so a new one is a decision; the rooms are listed from the ground up.
"""

import ast
import re
import sys
from functools import cache

import pytest

from tests.helpers.paths import ROOT
from tests.helpers.processes import run_process

PACKAGES = ("jrsr_core", "gadget", "training")
ARROWS = {
    # The core, from the ground up.
    "jrsr_core.common": "",
    "jrsr_core.reprs": "",
    "jrsr_core.numeric": "",
    "jrsr_core.arrays": "numeric",
    "jrsr_core.masks": "",
    "jrsr_core.matrix": "",
    "jrsr_core.spread": "",
    "jrsr_core.echo": "",
    "jrsr_core.centers": "",
    "jrsr_core.image_arrays": "centers",
    "jrsr_core.tensors": "",
    "jrsr_core.acs": "masks numeric",
    "jrsr_core.physics": "common tensors arrays numeric masks reprs",
    "jrsr_core.data": "common reprs arrays numeric acs image_arrays echo physics",
    "jrsr_core.metrics": "data arrays physics",
    "jrsr_core.calibration": "data tensors arrays numeric reprs acs matrix physics",
    "jrsr_core.simulation": "common tensors arrays matrix physics",
    "jrsr_core.models": "common tensors physics",
    "jrsr_core.weights": "common models",
    "jrsr_core.reconstruction": (
        "common data tensors numeric acs matrix physics calibration models weights"
    ),
    # ISMRMRD beside them: planning needs numbers only, assembling needs calibration.
    "jrsr_core.mrd.errors": "data",
    "jrsr_core.mrd.header": "data mrd.errors",
    "jrsr_core.mrd.lines": "common data mrd.errors mrd.header",
    "jrsr_core.mrd": "common data mrd.header mrd.lines",
    "jrsr_core.mrd.acs": "data acs mrd.header mrd.lines",
    "jrsr_core.mrd.planning": "common data mrd.errors mrd.header mrd.lines mrd.acs",
    "jrsr_core.mrd.examination": "centers mrd.errors mrd.header mrd.lines mrd.planning",
    "jrsr_core.mrd.noise": "calibration mrd.errors mrd.header mrd.lines mrd.planning",
    "jrsr_core.mrd.assembly": (
        "data acs physics calibration mrd.errors mrd.header mrd.lines mrd.acs mrd.planning "
        "mrd.noise"
    ),
    "jrsr_core.mrd.live": "data mrd.header mrd.lines mrd.planning mrd.examination mrd.assembly",
    "jrsr_core.mrd.files": (
        "common data calibration mrd mrd.errors mrd.header mrd.lines mrd.planning mrd.examination "
        "mrd.noise mrd.assembly"
    ),
    "jrsr_core.mrd.simulator": (
        "common data matrix acs physics simulation mrd.header mrd.lines mrd.files"
    ),
    # The plugin.
    "gadget.errors": "",
    "gadget.inputs": "errors",
    "gadget.plain_text": "",
    "gadget.console": "plain_text errors",
    "gadget.chains": "errors",
    "gadget.settings": "errors",
    "gadget.configuration": "settings errors plain_text",
    "gadget.compute": "settings errors",
    "gadget.compute.ray": "compute settings errors",
    "gadget.output": "compute settings errors console",
    "gadget.output.series": "output console",
    "gadget.output.pictures": "output output.series",
    "gadget.output.report": "output output.pictures plain_text",
    "gadget.output.nifti": "output output.series errors console",
    "gadget.output.dicom": "output output.series",
    "gadget.output.provenance": "output output.report output.nifti output.dicom compute",
    "gadget.output.save": "output output.series output.pictures output.nifti output.dicom",
    "gadget.output.formats": (
        "output output.series output.pictures output.report output.nifti output.dicom errors"
    ),
    "gadget.scan": "compute output settings errors console",
    "gadget.server.protocol": "",
    "gadget.server": (
        "server.protocol scan output compute compute.ray configuration settings inputs errors "
        "console plain_text"
    ),
    "gadget.offline": (
        "scan compute compute.ray output output.series output.pictures output.provenance "
        "output.formats settings inputs errors console plain_text"
    ),
    "gadget.offline.importing": "errors",
    "gadget.offline.importing.siemens": "offline.importing errors",
    "gadget.offline.importing.run": (
        "offline.importing offline.importing.siemens inputs errors console"
    ),
    "gadget.stream": "server server.protocol compute settings inputs errors plain_text",
    "gadget.doctor": "server compute chains settings errors",
    "gadget.fire": "server server.protocol compute settings",
    "gadget.openrecon": "fire configuration settings",
    "gadget.handler": "server server.protocol compute configuration settings plain_text",
    "gadget.cli": (
        "doctor chains offline offline.importing offline.importing.run stream server "
        "server.protocol compute compute.ray output output.formats settings inputs errors console "
        "plain_text"
    ),
    "gadget.__main__": "cli",
    # Training.
    "training.errors": "",
    "training.application": "errors",
    "training.config": "errors",
    "training.data.sources": "errors",
    "training.data.variety": "errors",
    "training.data": "data.sources data.variety errors",
    "training.data.loading": "data data.variety config errors",
    "training.losses": "data config",
    "training.runs.checkpoint": "",
    "training.runs.record": "data data.loading config errors",
    "training.runs.networks": "runs.checkpoint runs.record data losses config errors",
    "training.runs": (
        "runs.checkpoint runs.record runs.networks data data.loading losses config errors"
    ),
    "training.evaluation": (
        "runs runs.record runs.networks data data.sources data.variety data.loading errors"
    ),
    "training.images_command": "data errors",
    "training.options": "errors",
    "training.own_networks": "errors",
    "training.evaluation_commands": "evaluation options own_networks errors",
    "training.api": "evaluation runs runs.networks config",
    "training.slot": "evaluation runs config",
    "training.slot_command": "application own_networks slot runs",
    "training.commands": (
        "application images_command slot_command evaluation_commands options own_networks "
        "evaluation runs data data.variety config errors"
    ),
    "training.cli": "application commands",
    "training.__main__": "cli",
}
"""Room -> rooms of the same package that it may import."""

BETWEEN = {"jrsr_core": set(), "gadget": {"jrsr_core"}, "training": {"jrsr_core"}}
"""Package -> other packages of ours that it may import."""

FOREIGN = {
    "jrsr_core": {
        "gadgetron",
        "pydicom",
        "typer",
        "jrsr_core.common.application",
        "rich",
        "jinja2",
        "PIL",
        "nibabel",
        "matplotlib",
    },
    "gadget": {"matplotlib", "lightning"},
    "training": {"gadgetron", "typer.main"},
}
"""Package -> libraries and modules that it never imports."""

COMMAND_LINE = "jrsr_core.common.application"
"""The one module of the core that imports typer: the programs above share it."""

WITHOUT_TORCH = (
    "jrsr_core",
    "jrsr_core.data",
    "jrsr_core.mrd.planning.plan",
    "jrsr_core.mrd.examination.examine",
    "jrsr_core.mrd.files.scan",
    "jrsr_core.mrd.files.other_noise",
    "jrsr_core.mrd.files.sandbox",
    "jrsr_core.mrd.files.sandbox_child",
    "jrsr_core.mrd.simulator.request",
    "jrsr_core.common.validation",
    "jrsr_core.acs",
    "jrsr_core.calibration.settings",
    "jrsr_core.matrix",
    "jrsr_core.weights",
    "jrsr_core.weights.find",
    "jrsr_core.models",
    "jrsr_core.models.names",
    "gadget",
    "gadget.configuration",
    "gadget.settings",
    "gadget.scan.inspect",
    "gadget.offline.check",
    "gadget.cli.commands",
)


@cache
def modules(package):
    return sorted((ROOT / package).rglob("*.py"))


def room_of(name):
    """The room of a dotted module name: the longest known one."""
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        if ".".join(parts[:n]) in ARROWS:
            return ".".join(parts[:n])
    return name


def name_of(path):
    """The dotted name of a module."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def imports(path):
    """Dotted names that a module imports; names of a package are followed to their module."""
    package = path.relative_to(ROOT).parent.parts
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            base = ".".join(p for p in (base, node.module) if p)
            for alias in node.names:
                full = f"{base}.{alias.name}"
                is_module = (ROOT / full.replace(".", "/")).with_suffix(".py").exists()
                is_package = (ROOT / full.replace(".", "/")).is_dir()
                found.append(full if is_module or is_package else base)
    return tuple(dict.fromkeys(found))


@pytest.mark.parametrize("package", PACKAGES)
def test_every_arrow_is_drawn(package):
    new = set()
    for path in modules(package):
        name = name_of(path)
        if name == package:
            continue
        room = room_of(name)
        assert room in ARROWS, f"{name} is in no room"
        allowed = {f"{package}.{target}" for target in ARROWS[room].split()} | {room}
        for target in imports(path):
            if target.split(".")[0] != package or target == package:
                continue
            if room_of(target) not in allowed:
                new.add(f"{name} imports {target}")
    assert not new, "\n".join(sorted(new))


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_downwards(package):
    for path in modules(package):
        for target in imports(path):
            top = target.split(".")[0]
            is_exception = name_of(path) == COMMAND_LINE and top == "typer"
            is_foreign = {top, target} & FOREIGN[package] and not is_exception
            assert not is_foreign, f"{name_of(path)} imports {target}"
            if top in PACKAGES and top != package:
                assert top in BETWEEN[package], f"{name_of(path)} imports {target}"


def test_rooms_form_no_circle():
    below = set()
    for room, targets in ARROWS.items():
        missing = {f"{room.split('.')[0]}.{target}" for target in targets.split()} - below
        assert not missing, f"{room} stands below {missing}"
        below.add(room)


def test_every_arrow_exists():
    drawn = {
        room: {f"{room.split('.')[0]}.{target}" for target in targets.split()}
        for room, targets in ARROWS.items()
    }
    used = {room: set() for room in ARROWS}
    for package in PACKAGES:
        for path in modules(package):
            if name_of(path) != package:
                found = {room_of(t) for t in imports(path) if t.startswith(package)}
                used[room_of(name_of(path))] |= found
    unused = [f"{a} -> {b}" for a, targets in drawn.items() for b in targets - used[a]]
    assert not unused, unused


def test_files_form_no_circle():
    for package in PACKAGES:
        names = {name_of(path): path for path in modules(package)}
        graph = {n: [t for t in imports(p) if t in names and t != n] for n, p in names.items()}
        graph = {n: [t for t in ts if names[t].name != "__init__.py"] for n, ts in graph.items()}
        done, open_ = set(), []

        def visit(name, graph=graph, done=done, open_=open_):
            assert name not in open_, " -> ".join([*open_[open_.index(name) :], name])
            if name in done:
                return
            open_.append(name)
            for target in graph[name]:
                visit(target)
            done.add(open_.pop())

        for name in graph:
            visit(name)


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_imports_without_torch(module):
    code = f"import sys, os; before = dict(os.environ); import {module}; "
    code += "print('torch' in sys.modules, 'ismrmrd' in sys.modules, before != dict(os.environ))"
    run = run_process([sys.executable, "-c", code], check=True, cwd=ROOT)
    assert run.stdout.split() == ["False"] * 3


def test_ismrmrd_only_in_mrd_and_output():
    for path in modules("jrsr_core"):
        if "mrd" not in path.parts:
            assert "ismrmrd" not in {t.split(".")[0] for t in imports(path)}, path


def test_fft_only_in_fourier():
    """Its conventions are there; a power spectrum has none, and is found without torch."""
    for package in PACKAGES:
        for path in modules(package):
            if path.name not in ("fourier.py", "purity.py", "image_arrays.py"):
                text = path.read_text()
                assert "torch.fft" not in text, path
                assert "np.fft" not in text, path


def test_no_pickle_and_no_torch_load():
    # Trunks are published as pickles: read there alone, after their hash, restricted to tensors.
    for package in PACKAGES:
        for path in modules(package):
            text = path.read_text()
            assert "pickle" not in {t.split(".")[0] for t in imports(path)}, path
            if path.name == "trunk_files.py":
                assert text.count("torch.load(") == text.count("weights_only=True") == 1
            else:
                assert "torch.load(" not in text, path


def test_temporary_files_are_made_in_one_place():
    for package in PACKAGES:
        for path in modules(package):
            if path.name != "atomic.py":
                assert "tempfile" not in {t.split(".")[0] for t in imports(path)}, path


@cache
def sources():
    """Dotted name of a module -> its text."""
    return {name_of(p): p.read_text("utf-8") for top in (*PACKAGES, "tests") for p in modules(top)}


def is_in_the_code(name):
    """Whether a dotted name is a module, written from any room on, or stands in one."""

    def found(ending):
        return [text for module, text in sources().items() if f".{module}".endswith(f".{ending}")]

    module, _, attribute = name.rpartition(".")
    return bool(found(name)) or any(re.search(rf"\b{attribute}\b", text) for text in found(module))


def test_modules_named_in_docstrings_and_comments_exist():
    rooms = {name.rpartition(".")[2] for name in ARROWS} | {*PACKAGES, "tests"}
    wrong = []
    for module, text in sources().items():
        variables = {getattr(n, "arg", getattr(n, "id", "")) for n in ast.walk(ast.parse(text))}
        for name in re.findall(r"`([a-z_]+(?:\.\w+)+)`", text):
            is_meant = name.partition(".")[0] in rooms - variables
            if is_meant and not name.endswith(".json") and not is_in_the_code(name):
                wrong.append(f"{module}: {name}")
    assert wrong == []


def test_every_test_folder_is_a_package():
    # Without it `tests/gadget` would shadow the package `gadget`.
    for folder in (ROOT / "tests").rglob("*"):
        if folder.is_dir() and list(folder.glob("*.py")):
            assert (folder / "__init__.py").exists(), folder
