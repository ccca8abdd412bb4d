"""The options and the help that every command of both programs has."""

from contextlib import contextmanager

import pytest

from jrsr_core.common.application import Application
from jrsr_core.common.command_line import version_line


@pytest.fixture
def quiet():
    """Whether each entered context was to be quiet."""
    return []


@pytest.fixture
def app(quiet, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")

    @contextmanager
    def quietly(on):
        quiet.append(on)
        yield

    app = Application("tool", "Do things.", quietly, print)

    @app.command()
    def seen(n: int = 1):
        """Do one thing
        after another.

        At length.
        """
        return n

    @app.command(hidden=True)
    def inner():
        """Do what nobody should."""

    return app


def test_hidden_commands_are_not_listed_and_summaries_are_joined(app, capsys):
    app(["--help"], standalone_mode=False)
    listed = capsys.readouterr().out.partition("Commands:")[2]
    assert listed.split() == ["seen", *"Do one thing after another.".split()]


@pytest.mark.parametrize("arguments", [["--version"], ["seen", "--version"]])
def test_the_version_is_printed_instead_of_a_run(arguments, app, capsys):
    assert app(arguments, standalone_mode=False) == 0
    assert capsys.readouterr().out == version_line("tool") + "\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["seen"], [False, False]),
        (["-q", "seen"], [True, False]),
        (["seen", "--quiet", "--n", "3"], [False, True]),
    ],
)
def test_quiet_stands_before_or_after_the_command(arguments, expected, app, quiet):
    assert app(arguments, standalone_mode=False) == (3 if "3" in arguments else 1)
    assert quiet == expected
