"""The command `jrsr settings`."""

import textwrap
from typing import Annotated

import typer

from gadget.console import print_json, print_line
from gadget.errors import Exit, UsageError
from gadget.settings import Settings
from jrsr_core.common.spelling import nearest
from jrsr_core.common.validation import expected

from . import completion
from .options import app

AsJson = Annotated[bool, typer.Option("--json", help="Print the JSON schema of the settings.")]
Keys = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY]...",
        help="Settings to explain; all by default.",
        autocompletion=completion.setting_names,
    ),
]


@app.command()
def settings(keys: Keys = None, as_json: AsJson = False) -> int:
    """List all settings, or some: default, accepted values and meaning.

    They are the same for --set, for <property> elements and for MRD clients.
    """
    known = Settings.model_fields
    for key in keys or ():
        if key not in known:
            raise UsageError(f"unknown setting {key!r}{nearest(key, known)}")
    chosen = list(dict.fromkeys(keys or known))
    if as_json:
        schema = Settings.json_schema()
        print_json(schema | {"properties": {name: schema["properties"][name] for name in chosen}})
        return Exit.DONE
    for name in chosen:
        field = known[name]
        print_line(f"{name}={str(field.default).lower()}  ({expected(field)})")
        for line in textwrap.wrap(field.description or "", 88):
            print_line(f"    {line}")
    return Exit.DONE
