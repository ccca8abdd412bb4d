"""The help of both commands: every command that is not hidden, with its summary on one line."""

import pytest

from gadget.cli.application import Application as Plugin
from training.application import Application as Training


@pytest.mark.parametrize(
    "make", [lambda: Plugin(name="jrsr", rich_markup_mode=None), lambda: Training("")]
)
def test_hidden_commands_are_not_listed_and_summaries_are_joined(make, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    app = make()

    @app.command()
    def seen():
        """Do one thing
        after another.

        At length.
        """

    @app.command(hidden=True)
    def inner():
        """Do what nobody should."""

    app(["--help"], standalone_mode=False)
    listed = capsys.readouterr().out.partition("Commands:")[2]
    assert listed.split() == ["seen", *"Do one thing after another.".split()]
