"""The paired test and the bootstrap: exact values, resamples, one subject."""

import csv
import math
from itertools import product

import numpy as np
import pytest

from training.evaluation.rows import COLUMNS
from training.evaluation.statistics import N_SIGN_PATTERNS, compare
from training.evaluation.tables import make_table


def test_exact_p_value_by_hand():
    # Of the 8 sign patterns of (1, 2, 3) only +++ and --- reach |6|.
    assert compare({"a": [1.0], "b": [2.0], "c": [3.0]}).p_value == pytest.approx(2 / 8)
    # (1, -1): sums 0, 2, -2, 0, all at least 0.
    assert compare({"a": [1.0], "b": [-1.0]}).p_value == 1.0


def test_slices_of_one_subject_are_one_unit():
    few = compare({"a": [1.0], "b": [1.0], "c": [1.0]})
    many = compare({"a": [1.0] * 50, "b": [1.0] * 50, "c": [1.0] * 50})
    assert few.p_value == many.p_value == 0.25
    assert many.difference == many.low == many.high == 1.0


@pytest.mark.parametrize("seed", range(4))
def test_the_p_value_is_of_the_difference_that_is_printed(seed):
    # Every sign pattern of whole subjects gives one mean over slices.
    rng = np.random.default_rng(seed)
    subjects = {str(i): list(rng.normal(0.3, 1, rng.integers(1, 60))) for i in range(7)}
    found, n = compare(subjects), sum(map(len, subjects.values()))
    signs = product((1, -1), repeat=len(subjects))
    sums = [sum(values) for values in subjects.values()]
    means = [abs(np.dot(pattern, sums)) / n for pattern in signs]
    reached = np.mean([m >= abs(found.difference) * (1 - 1e-9) for m in means])
    assert found.p_value == pytest.approx(reached)


def test_one_large_subject_against_many_small_ones_is_not_significant():
    # The mean over slices is that of one subject, whose sign alone decides.
    subjects = {"large": [-0.28] * 271} | {str(i): [0.2] * 5 for i in range(10)}
    found = compare(subjects)
    assert found.difference < 0
    assert found.p_value == 1.0


def test_one_subject_has_no_test_and_no_interval():
    found = compare({"a": [1.0, 2.0]})
    assert found.difference == 1.5 and found.n_subjects == 1
    assert math.isnan(found.p_value) and math.isnan(found.low)


def test_many_subjects_by_random_signs():
    rng = np.random.default_rng(0)
    n = 20
    assert 2**n > N_SIGN_PATTERNS
    clear = compare({str(i): list(1 + 0.1 * rng.normal(size=3)) for i in range(n)})
    nothing = compare({str(i): list(rng.normal(size=3)) for i in range(n)})
    assert clear.p_value < 1e-3 < 0.05 < nothing.p_value
    assert compare({"a": [1.0], "b": [3.0]}) == compare({"a": [1.0], "b": [3.0]})


def test_the_interval_is_that_of_all_resamples_of_subjects():
    # A mean over slices: three times the large subject and one other give 10 / 301, not 10 / 4.
    subjects = {"a": [0.0] * 100, "b": [10.0], "c": [10.0], "d": [10.0]}
    resamples = product(subjects.values(), repeat=len(subjects))
    means = [np.concatenate(drawn).mean() for drawn in resamples]
    low, high = np.percentile(means, [2.5, 97.5], method="inverted_cdf")
    found = compare(subjects)
    assert low == pytest.approx(10 / 301)
    assert (found.low, found.high) == pytest.approx((low, high))


def test_the_interval_holds_95_of_100_resamples():
    values = np.random.default_rng(3).normal(size=40)
    found = compare({str(i): [v] for i, v in enumerate(values)})
    drawn = np.random.default_rng(4).choice(values, (100_000, values.size)).mean(1)
    width = np.diff(np.percentile(drawn, [2.5, 97.5]))[0]
    # An interval of 90 % is narrower by 0.16 of this, one of 99 % wider by 0.31.
    assert found.high - found.low == pytest.approx(width, rel=0.04)


def write_rows(path, judged):
    """Write a CSV of `evaluate` with rows (model, protocol, subject, PSNR)."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        counts = {}
        for model, protocol, subject, psnr in judged:
            index = counts[model, protocol] = counts.get((model, protocol), -1) + 1
            writer.writerow({
                "model": model, "protocol": protocol, "file": "a", "subject": subject,
                "slice": index, "psnr": psnr, "ssim": 0.9, "scan": "undersampled",
            })  # fmt: skip
    return path


def test_a_table_by_subject_counts_each_subject_once(tmp_path):
    subjects = ("a", "a", "a", "b")
    rows = [("jrsr", "brain-5x", s, v) for s, v in zip(subjects, (30, 31, 32, 22), strict=True)]
    rows += [("sr", "brain-5x", s, v) for s, v in zip(subjects, (29, 30, 31, 16), strict=True)]
    path = write_rows(tmp_path / "rows.csv", rows)

    def figures(**options):
        table = make_table(path, proposed="jrsr", **options)
        names = ("PSNR [dB]", table.headings[-2], table.headings[-3])
        return {row[1]: [row[table.headings.index(n)] for n in names] for row in table.cells}

    assert figures()["jrsr"] == ["28.75 ± 4.57", "", "4"]
    assert figures()["sr"][1].startswith("+2.25 (")
    # Means 31 and 22 of the subjects: 26.5, and a standard deviation of 9 / sqrt(2).
    assert figures(by_subject=True)["jrsr"] == ["26.50 ± 6.36", "", "2"]
    assert figures(by_subject=True)["sr"][1] == "+3.50 (+1.00 to +6.00)"


def test_the_proposed_system_may_have_rows_of_one_protocol_alone(tmp_path):
    rows = [
        (name, protocol, f"s{i}", psnr + i)
        for protocol in ("brain-5x", "wall-16x")
        for name, psnr in ((f"jrsr@{protocol}", 30), (f"sr@{protocol}", 29))
        for i in range(3)
    ]
    path = write_rows(tmp_path / "rows.csv", rows)
    table = make_table(path, proposed="jrsr@brain-5x")
    gains = {
        row[1]: row[table.headings.index("PSNR gain of proposed (95 %)")] for row in table.cells
    }
    assert gains["sr@brain-5x"].startswith("+1.00") and gains["sr@wall-16x"] == ""
