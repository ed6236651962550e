"""Several runs in one table."""

import csv

import pytest

from ensembles.errors import UserError
from ensembles.reports.terminal import RunRow, compare, write_csv
from tests.reports.printing import printed, results, row


def test_comparison_has_a_row_for_each_run_and_says_why_one_failed():
    rows = [
        RunRow({"method.M": 2, "model": "small_cnn"}, "done", results(M=2)),
        RunRow({"method.M": 4, "model": "small_cnn"}, "done", results()),
        RunRow({"method.M": 0, "model": "small_cnn"}, "failed: method.M is 0, but must be at least 1.", {}),
    ]
    text = printed(compare(rows), width=100)
    test, corrupted = ["98.9", "0.041", "0.012"], ["76.1", "1.050", "0.153"]
    assert row(text, "M", "model")[:6] == ["acc", "%", "NLL", "ECE", "cAcc", "%"]
    assert row(text, "4", "small_cnn") == [*test, *corrupted, "96.0", "3.2", "8.18", "M", "done"]
    assert row(text, "0", "small_cnn") == ["-"] * 9 + ["failed"]
    assert "M=0, model=small_cnn: method.M is 0, but must be at least 1." in text


def test_a_failed_run_that_nothing_tells_apart_gives_its_reason_alone():
    lines = printed(compare([RunRow({}, "failed: out of memory", {})]), width=100).splitlines()
    assert "out of memory" in [line.strip() for line in lines]


def test_a_narrow_comparison_has_whole_names_and_fewer_columns():
    rows = [RunRow({"method.M": 2, "model": "small_cnn"}, "done", results(M=2))]
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
    rows = [RunRow({"method.lr": 1, "recipe.lr": 2}, "done", {"ood/photos/entropy/auroc": 0.9})]
    text = printed(compare(rows, columns=("ood/photos/entropy/auroc", "test/acc")))
    assert row(text, "method.lr", "recipe.lr") == ["AUROC", "%", "status"]
    assert row(text, "1", "2") == ["90.0", "done"]


def test_csv_holds_every_scalar(tmp_path):
    failed = RunRow({"method.M": 1, "seed": 3}, 'failed: a "quoted", reason', {})
    write_csv(tmp_path / "sweep.csv", [RunRow({"method.M": 2}, "done", results(M=2)), failed])
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
    write_csv(path, [RunRow({"M": 1}, "done", {"test/acc": 0.5})])
    before = path.read_text()
    with pytest.raises(UserError, match=r"sweep\.csv \(No space left on device\)"):
        write_csv(path, [RunRow({"M": Broken()}, "done", {})])
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]
    for folder in (tmp_path / "nowhere", path):
        with pytest.raises(UserError, match=f"Cannot write {folder}"):
            write_csv(folder / "sweep.csv", [])
