"""The page over runs, from folders as runs leave them."""

import json
import math
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from ensembles.commands import report
from ensembles.errors import UserError
from ensembles.metrics import Predicted
from ensembles.metrics.summary import CELL
from ensembles.reports import table_result
from ensembles.reports.overview import COLUMNS, overview
from ensembles.reports.per_image import PER_IMAGE, load_per_image, save_per_image
from ensembles.reports.plots import save_plots
from ensembles.reports.runs_table import gather
from ensembles.reports.severity import TYPE_LOOKS


def test_the_page_has_each_run_with_config_and_plots(run, tmp_path):
    one, two = run("digits-net-packed-1"), run("digits-net-packed-2", seed=1, **{"test/acc": 0.8})
    runs, papers = gather([tmp_path / "runs"])
    assert [found.folder for found in runs] == [one, two] and not papers
    assert [path.stem for path in runs[0].plots] == ["curves", "reliability", "severity"]
    text = overview(runs, papers)
    for name in (one.name, two.name):
        assert f'id="{name}"' in text
    assert text.count("data:image/webp;base64") == 2 * 3 and text.count("<svg") == 1  # accuracy against cost
    assert "note: &lt;b&gt;" in text and "python train.py seed=1" in text and "<b>" not in text
    assert 'data-order="0.8"' in text and "http" not in text


class Cells(HTMLParser):
    """The tables of a page as rows of texts, a bold one between asterisks."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.inside = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self.inside = True
        elif tag == "strong":
            self.handle_data("*")

    def handle_endtag(self, tag):
        self.inside = self.inside and tag not in ("td", "th")
        if tag == "strong":
            self.handle_data("*")

    def handle_data(self, data):
        if self.inside:
            self.tables[-1][-1][-1] += data


def named(run, name, method, seed, settings="", **results):
    folder = run(name, seed, **results)
    (folder / "config.yaml").write_text(
        f"method: {{_target_: a.{method}, M: 4{settings}}}\nmodel: {{}}\nseed: {seed}\n"
    )


def test_the_page_opens_with_the_answer_best_first(run, tmp_path):
    for seed, accuracy in enumerate((0.8, 0.9)):
        named(run, f"digits-net-packed-0000000{seed}", "Packed", seed, **{"test/acc": accuracy, "test/nll": 0.25})
        named(run, f"digits-net-mimo-0000000{seed}", "MIMO", seed, **{"test/acc": 0.96, "test/nll": 0.5 + seed})
    named(run, "digits-net-mimo-00000002", "MIMO", 0, ", rho: 0.5", **{"test/acc": 0.5, "test/nll": 0.25})
    text = overview(*gather([tmp_path / "runs"]))
    parts, heads, *rows = Cells(text).tables[0]
    assert parts == ["", "test set", "members", "cost"]
    assert heads == [
        *("method", "seeds", "accuracy % ↑", "NLL ↓", "acc %"),
        *("params", "mult-adds", "images per second"),
    ]
    assert rows == [
        ["mimo", "2", "*96.0* ± 0.0", "1.000 ± 0.707", "85.0 ± 0.0", "100", "5.00 k", "1.00 k"],
        ["packed", "2", "85.0 ± 7.1", "*0.250* ± 0.000", "85.0 ± 0.0", "100", "5.00 k", "1.00 k"],
        ["mimo, rho=0.5", "1", "50.0", "*0.250*", "85.0", "100", "5.00 k", "1.00 k"],
    ]
    assert 'aria-sort="descending"' in text and "Mean ± standard deviation over seeds" in text
    assert text.index("<h2>digits, net</h2>") < text.index("<svg") < text.index('id="runs"')
    for label in ("mimo", "packed", "mimo, rho=0.5"):  # at the points
        assert f">{label}</text>" in text


def test_what_cannot_be_compared_has_tables_of_its_own(run, tmp_path):
    for data, model in (("digits", "net"), ("digits", "wrn"), ("letters", "net")):
        named(run, f"{data}-{model}-packed-00000000", "Packed", 0)
    text = overview(*gather([tmp_path / "runs"]))
    assert re.findall("<h2>(.*?)</h2>", text) == ["digits, net", "digits, wrn", "letters, net", "All runs"]
    tables = Cells(text).tables
    assert [len(rows) for rows in tables] == [3, 3, 3, 4]  # heads in two lines and one row each; all runs
    assert "<strong>" not in text and "best of a column" not in text  # of one there is no best
    assert text.count('data-order="letters"') == text.count('data-order="wrn"') == 1  # by which a click sorts
    assert [row[:4] for row in tables[-1]] == [
        ["method", "data", "network", "seed"],
        ["packed", "digits", "net", "0"],
        ["packed", "digits", "wrn", "0"],
        ["packed", "letters", "net", "0"],
    ]


def test_only_what_is_computed_tells_runs_apart(run, tmp_path):
    for seed in range(2):
        named(run, f"digits-net-packed-0000000{seed}", "Packed", seed)
        with (tmp_path / "runs" / f"digits-net-packed-0000000{seed}" / "config.yaml").open("a") as file:
            file.write(f"runtime: {{progress: {seed}}}\nruns_dir: {seed}\ntrainer: {{devices: {seed}}}\n")
            file.write(f"evaluation: {{save_predictions: {seed}}}\n")
            file.write(
                f"data: {{cache_dir: {seed}, skip_broken: {seed}, in_memory: {seed}, corrupted: {{root: {seed}}}}}\n"
            )
    assert [row[:2] for row in Cells(overview(*gather([tmp_path / "runs"]))).tables[0][2:]] == [["packed", "2"]]


def test_runs_that_may_end_earlier_are_no_seeds_of_others(run, tmp_path):
    for seed, patience in enumerate(("null", "3")):
        named(run, f"digits-net-packed-0000000{seed}", "Packed", seed)
        with (tmp_path / "runs" / f"digits-net-packed-0000000{seed}" / "config.yaml").open("a") as file:
            file.write(f"runtime: {{patience: {patience}}}\n")
    rows = Cells(overview(*gather([tmp_path / "runs"]))).tables[0][2:]
    assert sorted(row[:2] for row in rows) == [["packed", "1"], ["packed, patience=3", "1"]]


def test_regressions_are_sorted_by_their_error(run, tmp_path):
    for method, error in (("packed", 0.5), ("mimo", 0.25)):
        folder = run(f"sine-mlp-{method}-00000000")
        results = {"test/mse": error**2, "test/rmse": error, "test/nll": 1.0, "cost/mult_adds": 10, "cost/params": 10}
        (folder / "results.json").write_text(json.dumps(results))
    text = overview(*gather([tmp_path / "runs"]))
    _, heads, *rows = Cells(text).tables[0]
    assert heads[2:4] == ["RMSE ↓", "NLL ↓"] and [row[0] for row in rows] == ["mimo", "packed"]
    assert rows[0][2] == "*0.250*" and 'aria-sort="ascending"' in text and "Error against the cost" in text
    assert Cells(text).tables[-1][0][4:6] == ["RMSE", "MSE"]


def test_what_is_no_finite_number_is_never_best(run, tmp_path):
    for method, nll in (("packed", math.nan), ("mimo", 0.5), ("treenet", 0.75)):
        named(run, f"digits-net-{method}-00000000", method, 0, **{"test/nll": nll, "corrupted/fog/1/acc": 0.5})
    for seed in (9, 10):
        named(run, f"digits-net-packed-{seed:08}", "packed", seed, **{"test/nll": math.inf})
    text = overview(*gather([tmp_path / "runs"]))
    table, *_, everything = Cells(text).tables
    assert {row[0]: row[3] for row in table[2:]} == {"packed": "-", "mimo": "*0.500*", "treenet": "0.750"}
    assert [(row[3], row[5]) for row in everything[1:] if row[0] == "packed"] == [
        ("0", "nan"),
        ("9", "inf"),
        ("10", "inf"),
    ]


def test_corrupted_results_without_a_test_set_are_drawn(run, tmp_path):
    for method in ("packed", "mimo"):
        results = {"test/acc": None} | {f"corrupted/fog/{severity}/acc": 0.5 for severity in (1, 2)}
        run(f"digits-net-{method}-00000000", **results)
    assert "severity of corruption" in overview(*gather([tmp_path / "runs"]))


def test_methods_are_compared_by_what_runs_say_of_each_image(run, tmp_path):
    generator = np.random.default_rng(0)
    for method in ("packed", "mimo"):
        folder = run(f"digits-net-{method}-00000000", **{"corrupted/fog/1/acc": 0.5, "diversity/disagreement": 0.1})
        confidence = generator.random(500)
        save_per_image(folder / PER_IMAGE, generator.random(500) < confidence, np.log(confidence), confidence)
    text = overview(*gather([tmp_path / "runs"]))
    assert text.count("<svg") == 5 and "500 test images" in text and PER_IMAGE not in text
    (folder / PER_IMAGE).unlink()
    assert f"1 of 2 runs have no {PER_IMAGE}" in overview(*gather([tmp_path / "runs"]))
    (folder / PER_IMAGE).write_bytes(b"PK")
    with pytest.raises(UserError, match=r"per_image\.npz cannot be read"):
        overview(*gather([tmp_path / "runs"]))


def test_what_is_kept_of_each_image_comes_back(tmp_path):
    confidence = np.linspace(0.1, 1, 11)
    save_per_image(tmp_path / PER_IMAGE, confidence > 0.5, np.log(confidence), confidence)
    found = load_per_image(tmp_path / PER_IMAGE)
    assert (found["correct"] == (confidence > 0.5)).all()
    assert found["confidence"] == pytest.approx(confidence, rel=1e-3)


@pytest.mark.slow
def test_twenty_runs_with_their_plots_are_less_than_two_megabytes(run, tmp_path):
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(4, 360, 10, generator=generator), torch.randint(10, (360,), generator=generator)
    (tmp_path / "m.csv").write_text(
        "epoch,lr,train/loss,val/acc,val/ece,val/nll\n"
        + "".join(f"{e},{0.1 / (e + 1)},{2 / (e + 1)},{1 - 0.5 / (e + 1)},0.1,0.2\n" for e in range(30))
    )
    results = {
        f"corrupted/{type}/{s}/{metric}": 0.9 - 0.1 * s for type in TYPE_LOOKS for s in range(1, 6) for metric in CELL
    }
    results |= {"test/acc": 0.9, "test/ece": 0.1}
    ood = {name: torch.rand(360, generator=generator) for name in ("photos", "spliced")}
    ood = {f"ood/{name}": {"max_probability": -sure} for name, sure in ood.items()}
    summary = SimpleNamespace(test=Predicted(logits, labels), ood_scores=ood)
    plots = save_plots(summary, tmp_path, results, tmp_path / "m.csv")
    assert len(plots) == 9
    for i in range(20):
        folder = run(f"digits-net-packed-000000{i:02}", i, **results)
        for plot in plots:
            shutil.copy(plot, folder)
    assert len(overview(*gather([tmp_path / "runs"]))) < 2_000_000


def test_files_of_many_runs_are_read(tmp_path):
    place = tmp_path / "results" / "cifar10"
    place.mkdir(parents=True)
    (place / "results.json").write_text(json.dumps({"packed": {"results": {"test/acc": 0.75}, "commit": "abc"}}))
    (place / "corrupted.json").write_text(json.dumps({"packed": {"results": {"corrupted/acc": 0.5}}}))
    listed = [{"run": "digits-net-mimo-00000001", "seed": 3, "results": {"test/acc": 0.875}}, {"other": 1}]
    (tmp_path / "results" / "listed.json").write_text(json.dumps(listed))
    runs, papers = gather([tmp_path / "results"])
    assert {run.name: run.results for run in runs} == {
        "cifar10-packed": {"test/acc": 0.75, "corrupted/acc": 0.5},
        "digits-net-mimo-00000001": {"test/acc": 0.875},
    }
    text = overview(runs, papers)
    _, *rows = Cells(text).tables[-1]  # of all runs
    assert rows == [["packed", "cifar10", "", "-", "75.0", "50.0"], ["mimo", "digits", "net", "3", "87.5", "-"]]


def test_a_study_s_runs_are_rows_and_claims_a_section(tmp_path, call):
    (tmp_path / "results" / "cifar10").mkdir(parents=True)
    runs = [
        {"row": "mimo-2", "seed": seed, "settings": {"method": {"M": 2}}, "results": {"test/acc": 0.9 + 0.05 * seed}}
        for seed in (0, 1)
    ]
    runs[1]["command"] = "train.py experiment=a/mimo data=image_folder data.root=pictures seed=1"
    (tmp_path / "results" / "cifar10" / "runs.json").write_text(json.dumps(runs))
    found, _ = gather([tmp_path / "results"])
    assert [(run.name, run.method, run.data) for run in found] == [
        ("cifar10-mimo-2-0", "mimo-2", "cifar10"),
        ("cifar10-mimo-2-1", "mimo-2", "pictures (root=pictures)"),
    ]
    del runs[1]["command"]
    (tmp_path / "results" / "cifar10" / "runs.json").write_text(json.dumps(runs))
    entry = {"id": "a", "claim": "Less <is> more.", "where": "Table 1", "outcome": "does not hold", "group": "g"}
    entry |= {"by": [["full", "0.5 and 0.4"]], "commands": [], "checked": "The seeds."}
    (tmp_path / "results" / "claims.json").write_text(json.dumps({"p": {"cites": "P, 2020", "entries": [entry]}}))
    assert call(report, "results").code == 0
    text = Path("report.html").read_text()
    assert (
        ["mimo-2", "2", "92.5 ± 3.5"] in Cells(text).tables[0]
        and "does not hold: 1, of 1 claims" in text
        and "Less &lt;is&gt; more." in text
    )
    assert "Checked: The seeds." in text and 'href="#claims"' in text
    (tmp_path / "results" / "claims.json").write_text("{")
    assert "claims.json is no ledger" in " ".join(call(report, "results").err.split())


def test_without_a_folder_the_page_is_of_the_folder_runs(run, call):
    assert "There is no runs" in call(report).err
    folder = run("digits-net-packed-1")
    assert call(report).code == 0
    assert f'id="{folder.name}"' in Path("report.html").read_text()


def test_runs_are_told_apart_by_their_settings(run, tmp_path):
    for M in (2, 4):
        folder = run(f"digits-net-packed-0000000{M}", **{"test/mse": 0.0125})
        (folder / "config.yaml").write_text(f"method: {{M: {M}}}\nmodel: net\nseed: {M}\n")
    rows = Cells(overview(*gather([tmp_path / "runs"]))).tables[0][2:]
    assert [row[0] for row in rows] == ["packed, M=2", "packed, M=4"] and "*0.0125*" in rows[0]


def test_nothing_of_a_file_comes_out_as_html(run, tmp_path):
    """Whatever stands where in results, provenance and config: the page's own tags are all that there are."""
    bad = "<img src=x onerror=alert(1)>\"'>"
    folder, other = run("digits-net-packed-1"), run("digits-net-packed-2")
    clean = tags(overview(*gather([tmp_path / "runs"])))
    results = {key: bad for key in COLUMNS} | {bad: bad, "members/acc": [bad], "list": [bad, 1], "nested": {bad: bad}}
    (folder / "results.json").write_text(json.dumps(results))
    provenance = {key: bad for key in ("seed", "command", "commit", "hardware")} | {"seconds": {bad: bad}}
    (folder / "provenance.json").write_text(json.dumps(provenance))
    (folder / "config.yaml").write_text(yaml.safe_dump({"method": {"M": bad, bad: 1}, "model": bad, bad: bad}))
    (other / "provenance.json").write_text(json.dumps({"seed": [bad], "seconds": bad}))
    (tmp_path / "runs" / "listed.json").write_text(json.dumps([{"run": bad, "seed": bad, "results": {bad: bad}}]))
    text = overview(*gather([tmp_path / "runs"]))
    assert tags(text) <= clean | {"img"} and "&lt;img src=x onerror=alert(1)&gt;" in text
    assert not attributes(text) & {"onerror"} and "src=x" not in text.replace("&lt;img src=x", "")


def test_a_table_with_what_is_no_number(tmp_path):
    bad = "<img src=x onerror=alert(1)>"
    path = tmp_path / "table.json"
    line = table_result.Line([bad], "row", bad, [table_result.Cell(bad, 1.0, mark=bad)], mark=bad)
    texts = {"scale": bad, "substitutions": [bad], "paper": bad, "cites": bad}
    columns = [table_result.Head("test/acc", bad, bad, "higher", bad)]
    table = table_result.TableResult(bad, bad, heads=[bad], columns=columns, lines=[line], notes=[[bad, bad]], **texts)
    path.write_text(table.json())
    text = overview(*gather([path]))
    assert "img" not in tags(text) and "onerror" not in attributes(text) and "&lt;img" in text
    for change in ({"mean": bad}, {"std": bad}, {"difference": bad}, {"counted": [bad]}, {"decimals": bad}):
        value = json.loads(table.json())
        value["lines"][0]["cells"][0] |= change
        path.write_text(json.dumps(value))
        with pytest.raises(UserError, match="is not a table as"):
            gather([path])


class _Parser(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.attributes = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def tags(text):
    return _Parser(text).tags


def attributes(text):
    return _Parser(text).attributes
