"""No test depends on how fast the machine is: tests wait for events, with one time-out for all.

`time.sleep` waits for luck, a process without a time-out hangs the run, and a short one of its own
fails under load.
"""

import ast

from tests.helpers.paths import ROOT

WAITING = ROOT / "tests" / "helpers" / "processes.py"
SLEEPERS = {"test_faults.py": 1}
"""File -> calls of `time.sleep` that are part of what is simulated: a peer that reads slowly."""

ENDLESS = {"run", "call", "check_call", "check_output", "getoutput", "getstatusoutput"}


def calls():
    """Every call in the tests: file, function as written, node."""
    for path in sorted((ROOT / "tests").rglob("*.py")):
        if path != WAITING and "benchmarks" not in path.parts:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    yield path, ast.unparse(node.func), node


def test_nobody_sleeps():
    found: dict[str, int] = {}
    for path, name, _ in calls():
        if name in ("time.sleep", "sleep"):
            found[path.name] = found.get(path.name, 0) + 1
    assert found == SLEEPERS, "wait_until waits for an event"


def test_processes_have_the_common_time_out():
    names = {f"subprocess.{name}" for name in ENDLESS}
    found = [f"{path.name}:{node.lineno}" for path, name, node in calls() if name in names]
    assert not found, "run_process has the common time-out"


def test_no_time_out_is_a_number():
    found = []
    for path, name, node in calls():
        for keyword in node.keywords:
            if keyword.arg == "timeout" and isinstance(keyword.value, ast.Constant):
                found.append(f"{path.name}:{node.lineno} {name}")
        if name.endswith((".communicate", ".join", ".wait")) and "os.path" not in name:
            found += [f"{path.name}:{node.lineno} {name}" for a in node.args if is_number(a)]
    assert not found, "PATIENCE is the common time-out"


def is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float)
