"""Tables like the paper's 1 to 4 from the CSV rows of `evaluate`, in Markdown or LaTeX.

Mean and standard deviation over slices, or over subjects; the median of the seconds. The best in
bold, of the systems judged on every slice of the table; the upper reference never is. With a
proposed system every other one is compared with it on the slices both have: difference of PSNR
(proposed minus other) as a mean over slices or subjects, its 95 % interval and its p value; see
`statistics`.

A system may have several rows, of weights of different sets: ``jrsr`` and ``jrsr@brain-5x``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jrsr_core.weights.sets import SEPARATOR, split_set
from training.errors import UsageError

from .paper import KINDS, PROPOSED, order_of, paper_figures, table_number
from .rows import place_of, read_rows, subject_of, summarise
from .statistics import Comparison, compare

PAPER_HEADING = "paper: PSNR / SSIM / LPIPS / s"


@dataclass(frozen=True)
class Column:
    """One metric: heading, digits, and whether the largest or the smallest is best."""

    name: str
    heading: str
    digits: int
    best: Callable | None
    with_sd: bool = True


COLUMNS = (
    Column("psnr", "PSNR [dB]", 2, max),
    Column("ssim", "SSIM", 4, max),
    Column("resolution", "resolution [HR Nyquist]", 3, max),
    Column("resolution_mm", "resolution [mm]", 2, min),
    Column("lpips", "LPIPS", 4, min),
    Column("squeezenet_distance", "SqueezeNet distance", 4, min),
    Column("kspace_residual", "k-space residual", 4, None, with_sd=False),
    Column("contradicted_detail", "contradicted detail", 3, None, with_sd=False),
    Column("seconds_total", "median s / slice", 2, None, with_sd=False),
)


@dataclass(frozen=True)
class Table:
    """Headings and rows of cells; `bold` holds (row, column) of the best."""

    headings: list[str]
    cells: list[list[str]]
    bold: set[tuple[int, int]]


def _chosen(entries: list[dict], kind: str, proposed: str | None, paper: bool) -> list[dict]:
    """Return the entries of a kind of table in the order of the paper, the proposed system last."""
    if kind == "all":
        return entries
    wanted = {*KINDS[kind], *(PROPOSED if paper else ())}
    chosen = [e for e in entries if e["model"] == proposed or split_set(e["model"])[0] in wanted]
    if not chosen:
        raise UsageError(f"no row of a system of the {kind} table: {', '.join(KINDS[kind])}")
    protocols = list(dict.fromkeys(e["protocol"] for e in entries))

    def place(entry: dict) -> tuple:
        name, chosen = split_set(entry["model"])
        is_last = entry["model"] == proposed
        return protocols.index(entry["protocol"]), is_last, order_of(name), chosen

    return sorted(chosen, key=place)


def _comparable(entries: list[dict], protocol: str) -> list[dict]:
    """Return the entries that may be best: all slices of a protocol, not the upper reference."""
    same = [e for e in entries if e["protocol"] == protocol and not e["reference"]]
    slices = set().union(*(e["places"] for e in same))
    return [e for e in same if e["places"] == slices]


def _is_best(entry: dict, column: Column, comparable: list[dict]) -> bool:
    if column.best is None or entry not in comparable or entry[column.name] is None:
        return False
    return entry[column.name][0] == column.best(
        e[column.name][0] for e in comparable if e[column.name] is not None
    )


def _cell(value: tuple[float, float] | None, column: Column) -> str:
    if value is None:
        return ""
    mean, sd = (f"{v:.{column.digits}f}" for v in value)
    return f"{mean} ± {sd}" if column.with_sd else mean


def compare_systems(
    rows: list[dict], protocol: str, proposed: str, other: str, *, by_subject: bool = False
) -> Comparison:
    """Compare the PSNR of two systems on the slices that both have.

    With `by_subject` the mean is over subjects, each with the mean difference of its slices.

    Raises
    ------
    ValueError
        No such slice.
    """
    scores: dict[str, dict[tuple[str, str], float]] = {proposed: {}, other: {}}
    subjects = {}
    for row in rows:
        if row["protocol"] == protocol and row["model"] in scores:
            place = place_of(row)
            scores[row["model"]][place] = float(row["psnr"])
            subjects[place] = subject_of(row)
    common = scores[proposed].keys() & scores[other].keys()
    if not common:
        raise UsageError(f"{proposed} and {other} have no slice of {protocol} in common")
    differences: dict[str, list[float]] = {}
    for place in sorted(common):
        difference = scores[proposed][place] - scores[other][place]
        differences.setdefault(subjects[place], []).append(difference)
    if by_subject:
        differences = {s: [sum(values) / len(values)] for s, values in differences.items()}
    return compare(differences)


def _compared(rows: list[dict], entry: dict, proposed: str, by_subject: bool) -> list[str]:
    protocol = entry["protocol"]
    has_proposed = any(r["model"] == proposed and r["protocol"] == protocol for r in rows)
    if entry["model"] == proposed or not has_proposed:
        return ["", ""]
    found = compare_systems(rows, protocol, proposed, entry["model"], by_subject=by_subject)
    difference = f"{found.difference:+.2f}"
    if found.n_subjects < 2:
        return [difference, ""]
    p = f"{found.p_value:.4f}" if found.p_value >= 1e-4 else "< 0.0001"
    return [f"{difference} ({found.low:+.2f} to {found.high:+.2f})", p]


def paper_tables(
    paths: list[Path], kind: str, proposed: str | None, *, by_subject: bool = False
) -> dict[str, Table]:
    """Return the paper's tables that CSV files have rows for, beside its figures, by caption.

    Parameters
    ----------
    kind
        "ablation", "comparison", or "all" for both.
    proposed
        As `make_table`; by default the network of the paper, with the weights of the protocol
        if the CSV has them.
    by_subject
        As `make_table`.

    Raises
    ------
    ValueError
        As `make_table`; a CSV of another protocol, or two of the same.
    """
    found: dict[int, tuple[str, Table]] = {}
    for path in paths:
        models: dict[str, list[str]] = {}
        for entry in summarise(path):
            models.setdefault(entry["protocol"], []).append(entry["model"])
        for protocol, names in models.items():
            known = [n for n in _proposals(protocol) if n in names]
            against = proposed or (known[0] if known else None)
            for name in KINDS if kind == "all" else (kind,):
                number = table_number(protocol, name)
                if number in found:
                    raise UsageError(f"{path}: another file has rows of {protocol} as well")
                caption = f"Table {number}. {name.capitalize()}, {protocol}"
                made = make_table(
                    path,
                    kind=name,
                    proposed=against,
                    paper=True,
                    protocol=protocol,
                    by_subject=by_subject,
                )
                found[number] = caption, made
    return dict(found[number] for number in sorted(found))


def _proposals(protocol: str) -> tuple[str, ...]:
    """Return the rows of the paper's network, the one to compare with others first."""
    name = f"{PROPOSED[0]}{SEPARATOR}{protocol}"
    return name, PROPOSED[0]


def make_table(
    path: Path,
    *,
    kind: str = "all",
    proposed: str | None = None,
    paper: bool = False,
    protocol: str | None = None,
    by_subject: bool = False,
) -> Table:
    """Return the table of a CSV.

    Parameters
    ----------
    protocol
        The rows of this protocol alone.
    kind
        "ablation" (tables 1 and 2 of the paper), "comparison" (3 and 4), or "all" systems.
    proposed
        Name of the system that the others are compared with.
    paper
        Add a last column with what the paper reports, and the rows of the paper's network and of
        ours whatever the kind.
    by_subject
        Means over subjects, each with the mean over its slices, in place of means over slices.

    Raises
    ------
    ValueError
        Unknown kind, no rows of it, or no row of the proposed system.
    """
    if kind not in ("all", *KINDS):
        raise UsageError(f"table is {kind!r}, known: all, {', '.join(KINDS)}")
    rows, entries = read_rows(path), summarise(path, by_subject=by_subject)
    entries = [e for e in entries if protocol in (None, e["protocol"])]
    if not entries:
        raise UsageError(f"{path}: no rows")
    if proposed and proposed not in {e["model"] for e in entries}:
        known = ", ".join(dict.fromkeys(e["model"] for e in entries))
        raise UsageError(f"{path}: no row of the proposed system {proposed}, there are: {known}")
    entries = _chosen(entries, kind, proposed, paper)
    columns = [c for c in COLUMNS if any(e[c.name] is not None for e in entries)]
    count = "subjects" if by_subject else "slices"
    headings = ["protocol", "system", *(c.heading for c in columns), count]
    headings += ["PSNR gain of proposed (95 %)", "p"] if proposed else []
    headings += [PAPER_HEADING] if paper else []
    cells, bold = [], set()
    for i, entry in enumerate(entries):
        comparable = _comparable(entries, entry["protocol"])
        cells.append([entry["protocol"], entry["model"]])
        for column in columns:
            if _is_best(entry, column, comparable):
                bold.add((i, len(cells[i])))
            cells[i].append(_cell(entry[column.name], column))
        cells[i].append(str(entry[count]))
        cells[i] += _compared(rows, entry, proposed, by_subject) if proposed else []
        if paper:
            key = entry["protocol"], split_set(entry["model"])[0]
            cells[i].append(paper_figures().get(key, ""))
    return Table(headings, cells, bold)


def markdown(table: Table) -> str:
    """Return the table as Markdown."""
    lines = [f"| {' | '.join(table.headings)} |", "|---" * len(table.headings) + "|"]
    for i, cells in enumerate(table.cells):
        marked = [f"**{c}**" if (i, j) in table.bold else c for j, c in enumerate(cells)]
        lines.append(f"| {' | '.join(marked)} |")
    return "\n".join(lines)


_LATEX = {"\\": r"\textbackslash{}", "±": r"$\pm$", "<": "$<$"} | {c: f"\\{c}" for c in "_%&#$"}


def _latex_text(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


def latex(table: Table) -> str:
    """Return the table as a LaTeX tabular that needs no package."""
    lines = [rf"\begin{{tabular}}{{ll{'c' * (len(table.headings) - 2)}}}", r"\hline"]
    lines.append(" & ".join(_latex_text(h) for h in table.headings) + r" \\")
    lines.append(r"\hline")
    for i, cells in enumerate(table.cells):
        texts = [_latex_text(c) for c in cells]
        marked = [rf"\textbf{{{c}}}" if (i, j) in table.bold else c for j, c in enumerate(texts)]
        lines.append(" & ".join(marked) + r" \\")
    return "\n".join([*lines, r"\hline", r"\end{tabular}"])
