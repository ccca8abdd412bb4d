"""The systems of the paper's four tables, their reported figures, and the shipped weights of each.

`paper_figures.csv` holds what the paper reports (Xu et al., Bioengineering 2023, 10, 1107): means
over its own test images, which are not ours; seconds on its GPU, in tables 3 and 4 only.
"""

import csv
from functools import cache
from pathlib import Path

from jrsr_core.weights.sets import list_shipped, split_set
from training.errors import UsageError

from .rows import UPPER_REFERENCE

ABLATION = ("sr", "recon", "recon-sr", "recon+sr", "recon+sr-sft")
COMPARISON = (
    *(
        f"{r}+{s}"
        for r in ("cg-sense", "modl", "dl-espirit")
        for s in ("bicubic", "medsrgan", "bebygan")
    ),
    "t2net",
)
KINDS = {"ablation": ABLATION, "comparison": COMPARISON}
PROPOSED = ("jrsr", "jrsr-dc")
"""The paper's network and ours."""

PROTOCOLS = ("brain-5x", "wall-16x")
"""Of tables 1 and 3, and of tables 2 and 4; written out because a table is made without torch."""

REFERENCES = ("zero-filled+sinc", "cg-sense+bicubic", "cg-sense+sinc", UPPER_REFERENCE)
"""Rows without weights."""

PAPER_FIGURES = Path(__file__).with_name("paper_figures.csv")


@cache
def paper_figures() -> dict[tuple[str, str], str]:
    """Return the paper's figures by protocol and system, as texts in the order of the heading."""
    with PAPER_FIGURES.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        (row["protocol"], row["system"]): " / ".join(
            row[name] for name in ("psnr", "ssim", "lpips", "seconds") if row[name]
        )
        for row in rows
    }


def order_of(name: str) -> int:
    """Return the place of a system in the paper's tables; others come last."""
    order = (*ABLATION, *COMPARISON, *PROPOSED)
    return order.index(name) if name in order else len(order)


def published_systems(protocol: str) -> list[str]:
    """Return every row of the tables of a protocol by the name that selects its weights.

    They are the references, the weights of the sets of the protocol (``NAME@PROTOCOL`` and
    ``NAME@PROTOCOL-...``) in the order of the paper, and the weights for any scan.
    """
    rows, general = [], []
    for name in list_shipped():
        system, chosen = split_set(name)
        if not chosen:
            general.append(name)
        elif chosen == protocol or chosen.startswith(f"{protocol}-"):
            rows.append((order_of(system), chosen, name))
    return [*REFERENCES, *(name for *_, name in sorted(rows)), *general]


def table_number(protocol: str, kind: str) -> int:
    """Return the number of a table in the paper: 1 and 2 are the ablation, 3 and 4 the comparison.

    Raises
    ------
    UsageError
        The paper has no table of this protocol.
    """
    if protocol not in PROTOCOLS:
        raise UsageError(f"protocol is {protocol!r}, the paper's tables are of brain-5x, wall-16x")
    return 1 + PROTOCOLS.index(protocol) + 2 * list(KINDS).index(kind)
