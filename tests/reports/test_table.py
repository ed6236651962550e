import csv
import io
import subprocess
import sys

import pytest
from rich.console import Console

from ensembles.errors import UserError
from ensembles.reports.numbers import count, decimal, percent
from ensembles.reports.table import Row, compare, show, write_csv

CRITERIA = ("max_probability", "max_logit", "entropy", "mutual_information", "variance")


def results(M=4):
    found = {"test/acc": 0.98885, "test/nll": 0.0412, "test/ece": 0.0123, "test/brier": 0.0182}
    found |= {"members/acc": [0.97, 0.95, 0.96, 0.96][:M], "members/nll": [0.1] * M, "members/ece": [0.02] * M}
    found |= {"members/brier": [0.05] * M}
    if M > 1:
        found |= {"diversity/disagreement": 0.032, "diversity/kl": 0.0861, "diversity/ratio": 0.7812}
    for name in ("photos", "a set [of images] whose name is longer than any table can be wide"):
        for criterion in CRITERIA:
            found |= {f"ood/{name}/{criterion}/{metric}": 0.9471 for metric in ("auroc", "aupr", "fpr95")}
    found |= {"corrupted/acc": 0.761, "corrupted/nll": 1.05, "corrupted/ece": 0.153, "corrupted/fog/3/acc": 0.5555}
    found |= {"corrupted/cells": 75, "corrupted_extra/acc": 0.7, "corrupted_extra/nll": 1.5, "corrupted_extra/ece": 0.2}
    found |= {"shift/sketches/acc": 0.235, "shift/sketches/nll": 5.187, "shift/sketches/ece": 0.0822}
    found |= {"cost/params": 8175784, "cost/mult_adds": 480_900_000, "cost/forward_passes": 0.868}
    return found | {"cost/images_per_second": 12345.6, "cost/ms_per_image": 0.081}


def printed(what, *args, width=80):
    console = Console(file=io.StringIO(), width=width)
    console.print(what) if not args else what(*args, console)
    return console.file.getvalue()


def row(text, *beginning):
    [line] = [line.split() for line in text.splitlines() if line.split()[: len(beginning)] == list(beginning)]
    return line[len(beginning) :]


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


def test_comparison_has_a_row_for_each_run_and_says_why_one_failed():
    rows = [
        Row({"method.M": 2, "model": "small_cnn"}, "done", results(M=2)),
        Row({"method.M": 4, "model": "small_cnn"}, "done", results()),
        Row({"method.M": 0, "model": "small_cnn"}, "failed: method.M is 0, but must be at least 1.", {}),
    ]
    text = printed(compare(rows), width=100)
    test, corrupted = ["98.9", "0.041", "0.012"], ["76.1", "1.050", "0.153"]
    assert row(text, "M", "model")[:6] == ["acc", "%", "NLL", "ECE", "cAcc", "%"]
    assert row(text, "4", "small_cnn") == [*test, *corrupted, "96.0", "3.2", "8.18", "M", "done"]
    assert row(text, "0", "small_cnn") == ["-"] * 9 + ["failed"]
    assert "M=0, model=small_cnn: method.M is 0, but must be at least 1." in text


def test_a_narrow_comparison_has_whole_names_and_fewer_columns():
    rows = [Row({"method.M": 2, "model": "small_cnn"}, "done", results(M=2))]
    text = printed(compare(rows), width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert row(text, "2", "small_cnn") == ["98.9", "0.041", "0.012", "76.1", "0.153", "96.0", "8.18", "M", "done"]
    assert row(printed(compare(rows), width=60), "2", "small_cnn") == [
        "98.9",
        "0.041",
        "0.012",
        "76.1",
        "8.18",
        "M",
        "done",
    ]


def test_comparison_keeps_apart_keys_that_end_alike_and_takes_other_columns():
    rows = [Row({"method.lr": 1, "recipe.lr": 2}, "done", {"ood/photos/entropy/auroc": 0.9})]
    text = printed(
        compare(rows, columns={"ood/photos/entropy/auroc": ("AUROC %", percent), "test/acc": ("acc", percent)})
    )
    assert row(text, "method.lr", "recipe.lr") == ["AUROC", "%", "status"]
    assert row(text, "1", "2") == ["90.0", "done"]


def test_csv_holds_every_scalar(tmp_path):
    failed = Row({"method.M": 1, "seed": 3}, 'failed: a "quoted", reason', {})
    write_csv(tmp_path / "sweep.csv", [Row({"method.M": 2}, "done", results(M=2)), failed])
    with (tmp_path / "sweep.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert float(first["test/acc"]) == 0.98885 and first["seed"] == ""
    assert float(first["corrupted/fog/3/acc"]) == 0.5555
    assert "members/acc" not in first
    assert (second["method.M"], second["seed"], second["status"]) == ("1", "3", 'failed: a "quoted", reason')
    assert second["test/acc"] == ""


def test_csv_that_cannot_be_written_leaves_the_one_before(tmp_path):
    class Broken:
        def __str__(self):
            raise OSError(28, "No space left on device")

    path = tmp_path / "sweep.csv"
    write_csv(path, [Row({"M": 1}, "done", {"test/acc": 0.5})])
    before = path.read_text()
    with pytest.raises(UserError, match=r"sweep\.csv \(No space left on device\)"):
        write_csv(path, [Row({"M": Broken()}, "done", {})])
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]
    for folder in (tmp_path / "nowhere", path):
        with pytest.raises(UserError, match=f"Cannot write {folder}"):
            write_csv(folder / "sweep.csv", [])


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


def test_the_table_needs_no_torch():
    code = "import sys, ensembles.reports.table; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
