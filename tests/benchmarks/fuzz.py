"""Long fuzzing run: per target inputs, seconds, answers, crashes, hangs, peak memory.

    python -m tests.benchmarks.fuzz --seconds 300 [--target stream ...] [--keep FOLDER]

Every target runs in a child; one that crashes or takes longer than `HANG` on an input is killed,
the input is kept, and the next child goes on with the next seed.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

import numpy as np

from tests.fuzz.targets import TARGETS, sandbox, spoilt

PEAKS = ("slowest", "peak", "before", "sandbox")

HANG = 20.0
"""Seconds for one input."""


def child(name: str, seed: int, seconds: float, keep: Path) -> None:
    """Try inputs; one line of JSON on stdout at the end, the input at hand is always in a file."""
    target, random = TARGETS[name], np.random.default_rng(seed)
    seeds, answers, crashes = target.seeds(), Counter(), Counter()
    at_hand = keep / f"{name}_{seed}.at_hand"
    for data in seeds:
        target.answer(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    end, n, slowest = time.monotonic() + seconds, 0, 0.0
    while time.monotonic() < end:
        data = spoilt(seeds[random.integers(0, len(seeds))], random)
        at_hand.write_bytes(data)
        start = time.monotonic()
        try:
            answers[target.answer(data)] += 1
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{type(error).__name__} {Path(last.filename).name}:{last.lineno}"
            if not crashes[where]:
                (keep / f"{name}_{where.replace(' ', '_').replace(':', '_')}.bin").write_bytes(data)
                sys.stderr.write(f"{name}: {where}: {' '.join(str(error).split())[:200]}\n")
            crashes[where] += 1
        n, slowest = n + 1, max(slowest, time.monotonic() - start)
    at_hand.unlink(missing_ok=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sandbox().close()
    peak_sandbox = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    row = {"n": n, "answers": answers, "crashes": crashes, "slowest": slowest}
    row |= {"peak": peak / 1024, "before": before / 1024, "sandbox": peak_sandbox / 1024}
    sys.stdout.write(json.dumps(row) + "\n")


def run(name: str, seconds: float, keep: Path) -> dict:
    """Run children until the time is over; hangs and deaths are counted."""
    total = {"n": 0, "answers": Counter(), "crashes": Counter(), "hangs": 0, "deaths": 0}
    total |= dict.fromkeys(PEAKS, 0.0)
    start, seed = time.monotonic(), int(time.time())
    while (left := seconds - (time.monotonic() - start)) > 1:
        seed += 1
        command = [sys.executable, "-m", "tests.benchmarks.fuzz", "--child", name]
        command += ["--seed", str(seed), "--seconds", str(left), "--keep", str(keep)]
        at_hand = keep / f"{name}_{seed}.at_hand"
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        while process.poll() is None:
            time.sleep(0.5)
            try:
                stuck = time.time() - at_hand.stat().st_mtime > HANG
            except FileNotFoundError:
                stuck = False
            if stuck:
                process.kill()
                total["hangs"] += 1
        with process.stdout:
            out = process.stdout.read()
        if process.returncode == 0:
            row = json.loads(out)
            total["n"] += row["n"]
            total["answers"].update(row["answers"])
            total["crashes"].update(row["crashes"])
            for key in PEAKS:
                total[key] = max(total[key], row[key])
        elif process.returncode > 0:
            raise RuntimeError(f"{name}: the child failed")
        else:
            total["deaths"] += 1
            # None is at hand where what an input has spoilt shows at the end only.
            if at_hand.exists():
                at_hand.rename(keep / f"{name}_{seed}_signal{-process.returncode}.bin")
    return total | {"seconds": time.monotonic() - start}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="per target")
    parser.add_argument("--target", nargs="*", default=list(TARGETS))
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"))
    parser.add_argument("--child", default="")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    asked.keep.mkdir(exist_ok=True)
    if asked.child:
        child(asked.child, asked.seed, asked.seconds, asked.keep)
        return
    say = sys.stdout.write
    say("| target | inputs | seconds | read | refused | crashes | killed by a signal | hangs ")
    say("| slowest [s] | peak memory, of it before, of the sandbox [MiB] |\n")
    say("|---|" + "---|" * 9 + "\n")
    for name in asked.target:
        row = run(name, asked.seconds, asked.keep)
        read = row["answers"]["read"]
        say(f"| {name} | {row['n']} | {row['seconds']:.0f} | {read} ")
        say(f"| {row['answers'].total() - read} | {row['crashes'].total()} | {row['deaths']} ")
        say(f"| {row['hangs']} | {row['slowest']:.2f} | {row['peak']:.0f}, {row['before']:.0f}")
        say(f", {row['sandbox']:.0f} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
