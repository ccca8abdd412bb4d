"""The public interface: its names, at run time and for type checkers."""

import ast
from pathlib import Path

import pytest

import jrsr_core
from jrsr_core.common.version import software_version
from jrsr_core.models import names, registry


def test_every_name_is_there():
    for name in jrsr_core.__all__:
        assert getattr(jrsr_core, name) is not None, name
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = jrsr_core.nothing


def test_the_version_is_that_of_the_distribution():
    assert jrsr_core.__version__ == software_version() != ""
    assert "__version__" in dir(jrsr_core)


def test_type_checkers_see_the_same_names():
    (block,) = (
        node
        for node in ast.parse(Path(jrsr_core.__file__).read_text()).body
        if isinstance(node, ast.If)
    )
    seen = {alias.name for node in block.body for alias in node.names}
    assert seen == set(jrsr_core.__all__) == set(jrsr_core._MODULES)


def test_names_are_those_of_the_registry():
    assert tuple(registry.JOINTS) == names.JOINTS
    assert tuple(registry.RECONS) == names.RECONS
    assert tuple(registry.UPSAMPLES) == names.UPSAMPLES
    trained = {n for n in (*names.JOINTS, *names.PARTS) if names.has_weights(n)}
    assert trained == set(registry.CONFIGS)
    assert all(set(sizes) == set(names.PRESETS) for sizes in registry.CONFIGS.values())
