"""The entry points of the checkout, whether or not its installation is up to date."""

import re
from pathlib import Path

from .paths import ROOT

TABLE = re.compile(
    r'^\[project\.(?:entry-points\."?([\w.]+)"?|(scripts))\]\n(.*?)(?=^\[|\Z)', re.M | re.S
)
ENTRY = re.compile(r'^"?([\w.-]+)"? = "([\w.:]+)"$', re.M)


def entry_points_of_checkout() -> dict[str, dict[str, str]]:
    """Group -> name -> function, of `pyproject.toml` (Python 3.10 has no reader of TOML)."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    tables = TABLE.findall(text)
    return {group or "console_scripts": dict(ENTRY.findall(body)) for group, _, body in tables}


def write_entry_points(folder: Path) -> Path:
    """Write the metadata of the distribution with these entry points; return the folder."""
    made = folder / "gadgetron_jrsr-0.dist-info"
    made.mkdir(parents=True)
    (made / "METADATA").write_text("Metadata-Version: 2.1\nName: gadgetron-jrsr\nVersion: 0\n")
    lines = []
    for group, entries in entry_points_of_checkout().items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
    (made / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder
