"""Several runs in one table."""

import csv
from math import nan

import pytest

from ensembles.errors import UserError
from ensembles.reports.sweep_table import RunRow, averaged, compare, line, write_csv
from tests.reports.printing import printed, results, row


def test_the_table_has_a_row_for_each_run_and_says_why_one_failed():
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


def test_a_narrow_table_has_whole_names_and_names_the_columns_that_it_lacks():
    rows = [RunRow({"method.M": 2, "model": "small_cnn"}, "done", results(M=2))]
    text = printed(compare(rows), width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert row(text, "2", "small_cnn") == ["98.9", "0.041", "0.012", "76.1", "0.153", "96.0", "8.18", "M", "done"]
    assert "Too narrow for cNLL, differ %: a wider terminal shows them." in text
    narrow = printed(compare(rows), width=60)
    assert row(narrow, "2", "small_cnn") == ["98.9", "0.041", "0.012", "76.1", "8.18", "M", "done"]
    assert "Too narrow for cNLL, cECE, members %, differ %:" in narrow
    assert "Too narrow" not in printed(compare(rows), width=100)


def test_the_table_keeps_apart_keys_that_end_alike_and_takes_other_columns():
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
    assert float(first["members/acc"]) == pytest.approx(0.96, abs=5e-4) and "members/nll" in first
    assert (second["method.M"], second["seed"], second["status"]) == ("1", "3", 'failed: a "quoted", reason')
    assert second["test/acc"] == ""


def test_runs_that_differ_in_their_seed_are_averaged(tmp_path):
    """Beside the runs themselves; one that failed, and one alone, are in no average."""
    accuracies = {("packed", 0): 0.9, ("packed", 1): 0.94, ("mimo", 0): 0.8}
    rows = [
        RunRow(
            {"method": method, "seed": seed}, "done", {"test/acc": acc, "cost/params": 100, "members/acc": [0.5, 0.7]}
        )
        for (method, seed), acc in accuracies.items()
    ]
    rows.append(RunRow({"method": "mimo", "seed": 1}, "failed: out of memory", {}))
    text = printed(compare(rows), width=100)
    assert row(text, "packed", "2", "seeds") == ["92.0", "±", "2.8", "60.0", "100"]
    assert text.count("seeds") == 1
    other = {key: 2 * value for key, value in results().items() if isinstance(value, float)}
    full = [results(), results() | other]
    narrow = printed(
        compare([RunRow({"method": "deep_ensemble", "seed": seed}, "done", found) for seed, found in enumerate(full)])
    )
    assert row(narrow, "deep_ensemble", "2", "seeds")[:4] == ["148.3", "±", "69.9", "0.062"] and "…" not in narrow
    write_csv(tmp_path / "sweep.csv", rows)
    with (tmp_path / "sweep.csv").open(newline="") as file:
        *runs, mean, std = csv.DictReader(file)
    assert len(runs) == 4 and runs[0]["members/acc"] == "0.6"
    assert (mean["method"], mean["seed"], mean["status"]) == ("packed", "mean", "2 seeds")
    assert float(mean["test/acc"]) == pytest.approx(0.92) and float(std["test/acc"]) == pytest.approx(0.02 * 2**0.5)
    assert std["seed"] == "std" and float(std["cost/params"]) == 0


def test_runs_of_several_splits_are_averaged_with_standard_errors():
    """Of a split's seeds the mean counts; a split alone is no average over splits."""
    values = {(0, 0): 1.0, (0, 1): 3.0, (1, 0): 4.0, (1, 1): 6.0, (2, 0): 8.0, (2, 1): 8.0}
    rows = [
        RunRow({"data.split": str(split), "seed": str(seed)}, "done", {"test/rmse": rmse})
        for (split, seed), rmse in values.items()
    ]
    ((mean, error),) = averaged(rows)
    assert mean.results["test/rmse"] == pytest.approx(5) and mean.status == "3 splits, 6 runs"
    assert error.results["test/rmse"] == pytest.approx(3 / 3**0.5)
    assert error.differs == {"data.split": "standard error", "seed": "standard error"}
    assert "Mean ± standard error over splits over" in " ".join(printed(compare(rows)).split())
    begun = [
        RunRow({"method": method, **one.differs}, one.status, one.results)
        for method, some in (("mimo", rows), ("packed", rows[:2]))
        for one in some
    ]
    text = " ".join(printed(compare(begun)).split())
    assert "Mean ± standard error over splits or standard deviation method" in text
    ((mean, std),) = averaged(rows[:2])
    assert mean.status == "2 seeds" and std.results["test/rmse"] == pytest.approx(2**0.5)


def test_what_is_no_finite_number_is_not_averaged():
    rows = [RunRow({"seed": seed}, "done", {"test/acc": 0.5, "test/nll": nll}) for seed, nll in enumerate((1.0, nan))]
    ((mean, std),) = averaged(rows)
    assert mean.results == {"test/acc": 0.5} and std.results == {"test/acc": 0}


def test_a_line_says_what_a_run_varied_and_found():
    results = {"test/acc": 0.5, "test/nll": 1.25, "members/acc": [0.25, 0.5]}
    told = line(RunRow({"method.M": 2, "seed": 1}, "done", results))
    assert told == "M=2, seed=1: accuracy 50.0 %, NLL 1.250, members 37.5 %"
    alone = line(RunRow({"seed": 1}, "done", {"test/acc": 0.5, "members/acc": [0.5]}))
    assert alone == "seed=1: accuracy 50.0 %"
    zero = line(RunRow({"seed": 1}, "done", {"test/acc": 0.0, "test/nll": 0.0}))
    assert zero == "seed=1: accuracy 0.0 %, NLL 0.000"
    assert line(RunRow({"seed": 1}, "failed: out of memory", {})) == "seed=1: failed: out of memory"


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
