"""The command `jrsr settings`."""

import json
import textwrap
from typing import Annotated

import typer

from gadget.console import print_line
from gadget.errors import Exit
from gadget.settings import Settings
from jrsr_core.validation import expected

from .options import app

AsJson = Annotated[bool, typer.Option("--json", help="Print the JSON schema of the settings.")]


@app.command()
def settings(as_json: AsJson = False) -> int:
    """List all settings: default, accepted values and meaning.

    They are the same for --set, for <property> elements and for MRD clients.
    """
    if as_json:
        for line in json.dumps(Settings.json_schema(), indent=2).splitlines():
            print_line(line)
        return Exit.DONE
    for name, field in Settings.model_fields.items():
        print_line(f"{name}={str(field.default).lower()}  ({expected(field)})")
        for line in textwrap.wrap(field.description or "", 88):
            print_line(f"    {line}")
    return Exit.DONE
