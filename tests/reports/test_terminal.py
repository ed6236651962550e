"""The tables at the end of a run, and how their numbers are written."""

import subprocess
import sys

import pytest

from ensembles.reports.schema import count, decimal, percent
from ensembles.reports.terminal import show
from tests.reports.printing import CRITERIA, printed, results, row


def test_the_table_holds_the_numbers_as_papers_print_them():
    text = printed(show, results(), "runs/here")
    assert row(text, "ensemble") == ["98.9", "0.041", "0.012", "0.018"]
    assert row(text, "members'", "mean") == ["96.0", "0.100", "0.020", "0.050"]
    assert row(text, "member", "2") == ["95.0", "0.100", "0.020", "0.050"]
    assert row(text, "corrupted") == ["76.1", "1.050", "0.153"]
    assert row(text, "corrupted,", "other", "types") == ["70.0", "1.500", "0.200"]
    assert row(text, "sketches") == ["23.5", "5.187", "0.082"]
    assert row(text, "photos", "max", "probability") == ["94.7"] * 3
    assert row(text, "disagreement", "between")[-1] == "3.2"
    assert row(text, "parameters") == ["8.18", "M"]
    assert row(text, "multiply-adds")[-2:] == ["481", "M"]
    assert text.rstrip().endswith("runs/here")


def test_a_mean_over_some_corruptions_says_so():
    text = printed(show, results() | {"corrupted/cells": 30}, "runs/here")
    assert row(text, "corrupted,", "30", "of", "75", "cells") == ["76.1", "1.050", "0.153"]
    text = printed(show, results() | {"corrupted/mce": 0.7531}, "runs/here")
    assert row(text, "mCE", "%,", "AlexNet's", "being", "100") == ["75.3"]


def test_frames_of_videos_stand_below_their_set():
    frames = {"shift/vid/acc": 0.6, "shift/vid/nll": 1.0, "shift/vid/anchor_acc": 0.655, "shift/vid/pmk_acc": 0.51}
    text = printed(show, results() | frames, "runs/here")
    assert row(text, "vid") == ["60.0", "1.000", "-"]
    assert row(text, "anchor", "frames") == ["65.5"]
    assert row(text, "with", "all", "frames", "like", "them") == ["51.0"]


def test_temperature_scaling_is_shown_before_and_after():
    found = results()
    found |= {f"scaled/pool/{name}": 0.5 for name in ("acc", "nll", "ece", "brier")}
    found |= {f"scaled/average/{name}": 0.25 for name in ("acc", "nll", "ece", "brier")}
    found |= {f"scaled/members/{name}": [0.1, 0.2, 0.3, 0.4] for name in ("acc", "nll", "ece", "brier")}
    found |= {"scaled/pool/temperature": 1.2345, "scaled/members/temperature": [1.0, 1.0, 2.0, 4.0]}
    text = printed(show, found, "runs/here")
    assert row(text, "ensemble", "as", "trained") == ["1.000", "98.9", "0.041", "0.012", "0.018"]
    assert row(text, "ensemble", "scaled") == ["1.234", "50.0", "0.500", "0.500", "0.500"]
    assert row(text, "mean", "of", "scaled", "members")[:2] == ["2.000", "25.0"]
    assert row(text, "members'", "mean", "scaled") == ["2.000", "25.0", "0.250", "0.250", "0.250"]
    one = {key: value[:1] if isinstance(value, list) else value for key, value in found.items()}
    text = printed(show, one, "runs/here")
    assert row(text, "network", "scaled")[0] == "1.234"
    assert "scaled members" not in text


def test_nothing_wraps_and_no_number_is_cut_at_80_columns():
    text = printed(show, results(), "runs/here")
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("94.7") == 2 * len(CRITERIA) * 3
    assert "a set [of images] whose" in text
    assert "\x1b" not in text  # no colour codes when piped


def test_a_path_stays_in_one_piece():
    where = "/data/" + "long-folder-name/" * 12 + "[M=4]"
    assert where in printed(show, results(), where)


def test_one_network_is_shown_without_members_or_diversity():
    text = printed(show, results(M=1), "runs/here")
    assert row(text, "network") == ["98.9", "0.041", "0.012", "0.018"]
    assert "member" not in text and "Diversity" not in text


def test_many_members_are_shown_by_their_mean():
    found = results() | {f"members/{name}": [0.5] * 16 for name in ("acc", "nll", "ece", "brier")}
    text = printed(show, found, "runs/here")
    assert row(text, "members'", "mean")[0] == "50.0"
    assert "member 1" not in text


def test_results_of_a_bare_evaluation_are_enough():
    text = printed(show, {"test/acc": 0.5, "members/acc": [0.5]}, "runs/here")
    assert row(text, "network") == ["50.0", "-", "-", "-"]
    assert "Out-of-distribution" not in text and "Cost" not in text


def test_tables_need_no_torch():
    code = "import sys, ensembles.reports.terminal; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_cost_of_a_regression_is_per_input():
    cost = {"cost/mult_adds": 4096, "cost/ms_per_image": 0.000012345}
    text = printed(show, cost | {"test/mse": 0.5}, "runs/here")
    assert row(text, "multiply-adds", "per", "input") == ["4.10", "k"]
    assert row(text, "milliseconds", "per", "input") == ["1.23e-05"]
    assert row(printed(show, cost | {"test/acc": 0.5}, "runs/here"), "multiply-adds", "per", "image")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0, "0"),
        (0.5, "0.50"),
        (12.34, "12.3"),
        (640, "640"),
        (999.7, "1.00 k"),
        (12345.6, "12.3 k"),
        (999_999, "1.00 M"),
        (36_479_194, "36.5 M"),
        (480_900_000, "481 M"),
        (5.95e9, "5.95 G"),
    ],
)
def test_counts_have_three_digits(value, text):
    assert count(value) == text


def test_decimals_and_percentages():
    assert (percent(0.9412), percent(1.0), percent(None)) == ("94.1", "100.0", "-")
    assert (decimal(0.1234), decimal(5187.12), decimal(6e38), decimal(None)) == ("0.123", "5187.1", "6e+38", "-")
