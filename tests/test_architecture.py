"""The arrows of the house: who may import whom, and where the FFT lives."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("jrsr_core", "gadget", "training")
FORBIDDEN = {
    "jrsr_core": {"gadget", "training", "sigpy", "gadgetron", "pydicom", "typer", "rich"},
    "training": {"gadget", "ismrmrd", "gadgetron", "sigpy", "torchvision"},
    "gadget": {"training", "torchvision"},
}
# Inside the core, strictly downwards.
LAYERS = {
    "arrays": set(),
    "geometry": set(),
    "drawing": set(),
    "interrupt": set(),
    "physics": {"arrays", "interrupt"},
    "calibration": {"arrays", "geometry", "physics"},
    "simulation": {"arrays", "geometry", "physics"},
    "metrics": {"arrays"},
    "models": {"arrays", "geometry", "interrupt", "physics"},
    "detail": {"physics"},
    "quality": {"arrays", "geometry", "physics", "calibration", "detail", "models"},
    "weights": {"models"},
    "intact": {"geometry", "calibration"},
    "trust": {"weights"},
    "batching": {"physics", "calibration", "models"},
    "slice_figures": {
        *("geometry", "calibration", "models", "quality", "trust", "weights"),
    },
    "pipeline": {
        *("arrays", "geometry", "physics", "calibration", "models", "quality", "weights"),
        *("intact", "batching", "device", "slice_figures"),
    },
    "volume": {
        *("arrays", "geometry", "interrupt", "physics", "calibration", "models", "quality"),
        *("batching", "pipeline", "trust"),
    },
    "mrd": {"arrays", "geometry", "physics", "calibration"},
}
# Not at import time: each is imported inside the one function that needs it.
LAZY = {("jrsr_core/simulation/masks.py", "sigpy")}


def modules(package):
    return sorted((ROOT / package).rglob("*.py"))


def imports(path):
    """Absolute names that a module imports, relative imports resolved, and the node's place."""
    tree = ast.parse(path.read_text())
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            yield ".".join(p for p in (base, node.module) if p)


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_downwards(package):
    for path in modules(package):
        name = str(path.relative_to(ROOT))
        for target in imports(path):
            top = target.split(".")[0]
            if (name, top) in LAZY:
                continue
            assert top not in FORBIDDEN[package], f"{name} imports {target}"


def test_core_layers():
    for path in modules("jrsr_core"):
        relative = path.relative_to(ROOT / "jrsr_core")
        layer = relative.parts[0].removesuffix(".py")
        if layer == "__init__":
            continue
        for target in imports(path):
            parts = target.split(".")
            if parts[0] != "jrsr_core" or len(parts) < 2 or parts[1] == layer:
                continue
            assert parts[1] in LAYERS[layer], f"{relative} imports {target}"


def test_ismrmrd_only_in_mrd():
    for path in modules("jrsr_core"):
        if "mrd" not in path.parts:
            assert "ismrmrd" not in {t.split(".")[0] for t in imports(path)}, path


def test_fft_only_in_fourier():
    for package in PACKAGES:
        for path in modules(package):
            if path.name != "fourier.py":
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


def test_every_test_folder_is_a_package():
    # Without it `tests/gadget` would shadow the package `gadget`.
    for folder in (ROOT / "tests").rglob("*"):
        if folder.is_dir() and list(folder.glob("*.py")):
            assert (folder / "__init__.py").exists(), folder
