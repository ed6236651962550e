"""What figures over trained runs draw, from results as runs leave them."""

from statistics import median, stdev

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ensembles.analysis.curves import curves, nonzero, sparsity
from ensembles.analysis.dots import boxes, dots, scatter, stochasticity
from ensembles.analysis.series import FigureRow
from ensembles.analysis.speed import speed
from ensembles.checkpoints import ABOUT
from ensembles.errors import UserError
from ensembles.runs import Run


@pytest.fixture
def line(tmp_path):
    """A row of an entry with a run for each mapping of results."""
    made = []

    def make(at, *results):
        made.append(at)
        config = {"seed": 0, "test_on": "last", "evaluation": {}, "data": {}}
        runs = tuple(Run(config, tmp_path / f"{len(made)}-{seed}") for seed in range(len(results)))
        line = FigureRow(", ".join(at.values()), at, runs)
        line.__dict__["results"] = list(results)  # what the property would read from the runs' folders
        return line

    return make


def test_a_curve_is_the_mean_with_a_band_of_a_standard_deviation(line):
    accuracies = {("a", "1"): (0.5, 0.6), ("a", "2"): (0.7, 0.9), ("b", "1"): (0.4, 0.4), ("b", "2"): (0.3, 0.5)}
    lines = [
        line({"Net": net, "M": M}, *({"test/acc": value, "members/acc": [value, value - 0.2]} for value in values))
        for (net, M), values in reversed(accuracies.items())
    ]
    drawing = curves(lines, "M", [["test/acc", "members/acc"]], panel="Net")
    axes = {one.get_title(): one for one in drawing.figure.axes}
    for net in ("a", "b"):
        ensemble, members = axes[net].lines
        expected = [50 * sum(accuracies[net, M]) for M in "12"]
        assert ensemble.get_xdata() == pytest.approx([1, 2]) and ensemble.get_ydata() == pytest.approx(expected)
        assert members.get_ydata() == pytest.approx([value - 10 for value in expected])
        band = axes[net].collections[0].get_datalim(axes[net].transData)
        highest = max(mean + 100 * stdev(accuracies[net, M]) for mean, M in zip(expected, "12", strict=True))
        assert band.ymax == pytest.approx(highest)
    assert "a, accuracy (%), ensemble: 55.0 ± 7.1 at M = 1, 80.0 ± 14.1 at 2." in drawing.findings


def test_a_group_has_one_look_in_all_panels_whatever_is_missing(line):
    found = {("C10", "b"): (0.5, 0.6), ("C10", "c"): (0.7, 0.9), ("C100", "a"): (0.1, 0.2), ("C100", "c"): (0.3, 0.4)}
    lines = [
        line({"Data": data, "Net": net, "M": str(M)}, {"test/acc": value, "test/ece": 0.1})
        for (data, net), values in found.items()
        for M, value in enumerate(values, 1)
    ]
    mark = {"at": {"Data": "C100", "Net": "a", "M": "1"}, "test/acc": "15.0"}
    figure = curves(lines, "M", [["test/acc"], ["test/ece"]], group="Net", panel="Data", printed=[mark]).figure
    looks = {}
    for axes in figure.axes:
        for one in axes.lines:
            looks.setdefault(one.get_label(), set()).add((one.get_color(), one.get_linestyle(), one.get_marker()))
    assert all(len(of) == 1 for of in looks.values()) and len(set.union(*looks.values())) == 4
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["b", "c", "a", "printed in the paper"]


def test_curves_of_what_no_row_has_are_refused(line):
    with pytest.raises(UserError, match="No finished row has test/acc or test/nll"):
        curves([line({"M": "1"}, {"test/ece": 0.5})], "M", [["test/acc"], ["test/nll"]])


def test_curves_by_a_result_and_with_printed_numbers(line):
    lines = [
        line({"Size": size, "Method": "x"}, {"cost/params": params, "test/nll": nll})
        for size, params, nll in (("big", 4e6, 0.2), ("small", 1e6, 0.5), ("middle", 2e6, 0.1))
    ]
    mark = {"at": {"Method": "x", "cost/params": "3"}, "test/nll": "0.30", "cites": "Table 1"}
    drawing = curves(lines, "cost/params", [["test/nll"]], group="Method", log=True, printed=[mark])
    (axes,) = drawing.figure.axes
    assert axes.lines[0].get_xdata() == pytest.approx([1, 2, 4]) and axes.get_xscale() == "log"
    assert axes.lines[1].get_xydata().tolist() == [[3, 0.3]] and axes.lines[1].get_marker() == "x"
    assert "best at 2 (0.100)" in drawing.findings[0]
    assert [row["cost/params"] for row in drawing.data] == [1, 2, 4]


def test_a_box_is_over_the_other_settings(line):
    values = {"1": (0.90, 0.95, 0.92), "4": (0.94, 0.96, 0.99)}
    lines = [
        line({"R": R, "Rate": str(i)}, {"test/acc": value})
        for R, of_R in values.items()
        for i, value in enumerate(of_R)
    ]
    drawing = boxes(lines, "R", ["test/acc"])
    medians = [box.get_ydata()[0] for box in drawing.figure.axes[0].lines if box.get_color() == "#D55E00"]
    assert medians == pytest.approx([100 * median(of_R) for of_R in values.values()])
    assert len(drawing.data) == 6 and drawing.data[0]["settings"] == "Rate = 0"
    assert drawing.findings == ["accuracy (%), median over 3 settings: 92 at 1, 96 at 4 r."]
    some = boxes([*lines[:4], line({"R": "8", "Rate": "0"}, {"test/nll": 0.5})], "R", ["test/acc", "test/nll"])
    assert some.findings == [  # of what is not done
        "accuracy (%), median over 1 or 3 settings: 92 at 1, 94 at 4 r.",
        "NLL (nats), median over 1 setting: 0.5 at 8 r.",
    ]


def test_dots_name_the_best_criterion_of_each_row(line):
    keys = [f"ood/svhn/{criterion}/auroc" for criterion in ("max_probability", "entropy", "mutual_information")]
    lines = [
        line({"Method": "Single"}, dict(zip(keys[:2], (0.8, 0.7), strict=True))),
        line({"Method": "Packed"}, dict(zip(keys, (0.8, 0.85, 0.9), strict=True))),
    ]
    drawing = dots(lines, [keys], printed=[{"at": {"Method": "Packed"}, keys[0]: "77.0"}])
    said = "Best AUROC (%): Single by maximum probability (80.0); Packed by mutual information (90.0)."
    assert drawing.findings == [said]
    assert len(drawing.data) == 5
    crosses = [mark.get_xydata().tolist() for mark in drawing.figure.axes[0].lines if mark.get_marker() == "x"]
    assert crosses == [[], [[77.0, -1.0]]]
    assert dots(lines, [keys, ["test/ece"]]).findings == [said]  # nothing of what no row has


def test_pairs_with_the_same_results_are_counted(line):
    def row(algorithms, start, **results):
        return line({"Algorithms": algorithms, "Start": start}, {"test/acc": 0.5, "cost/ms_per_image": 1.0, **results})

    lines = [
        row("fast", "own"),
        row("exact", "own", **{"cost/ms_per_image": 2.0}),
        row("fast", "same"),
        row("exact", "same", **{"test/acc": 0.51}),
    ]
    drawing = stochasticity(lines, [["test/acc"]], "Algorithms")
    said = "Fast and exact algorithms: of 2 pairs of rows, 1 have the same results to the last digit."
    assert drawing.findings[-1] == said


def test_a_scatter_has_a_point_for_each_row(line):
    results = [{"test/acc": value, "cost/images_per_second": 100.0, "cost/params": 1000} for value in (0.8, 0.9)]
    drawing = scatter([line({"Method": "Packed"}, *results), line({"Method": "Single"}, results[0])])
    places = [points.get_offsets()[0].tolist() for points in drawing.figure.axes[0].collections]
    assert places == [[100, pytest.approx(85)], [100, pytest.approx(80)]]
    assert drawing.data[0]["std"] == pytest.approx(stdev((80, 90)))


def test_sparsity_is_of_the_trained_numbers_in_the_tested_checkpoint(line):
    weights = torch.tensor([0.5, -0.2, 1e-5, -9e-5, 0.0, 2e-4])
    state = {"a.weight": weights, "a.bias": torch.zeros(2), "b.running_var": torch.ones(100)}
    about = {
        "method": {"_target_": "ensembles.methods.Deterministic"},
        "model": {"_target_": "ensembles.backbones.mlp"},
    }
    about |= {
        "num_classes": 2,
        "in_channels": 1,
        "image_size": 8,
        "mean": [0.5],
        "std": [0.2],
        "class_names": ["a", "b"],
    }
    sparse, dense = line({"M": "1", "λ": "1"}, {"test/acc": 0.5}), line({"M": "1", "λ": "0"}, {"test/acc": 0.7})
    for each, tensors in ((sparse, state), (dense, {"a.weight": torch.ones(8)})):
        each.runs[0].folder.mkdir()
        torch.save({ABOUT: about, "state_dict": tensors}, each.runs[0].last)
    assert nonzero(sparse.runs[0].last) == 3 / 8
    (axes,) = sparsity([sparse, dense], [["test/acc"]], group="M").figure.axes
    assert axes.lines[0].get_xydata().tolist() == [[37.5, 50], [100, 70]]


@pytest.mark.slow
def test_speeds_are_ratios_to_the_single_network(monkeypatch):
    """Of alpha = M members each is as wide as the network and takes its work; the clock here counts operations."""

    def operations(work):
        with FlopCounterMode(display=False) as counter:
            work()
        return counter.get_total_flops()

    monkeypatch.setattr("ensembles.analysis.speed._seconds", operations)
    network = ["model=wrn", "model.depth=10", "model.widen_factor=2"]
    forms = {"forms": ["loop", "grouped"], "bits": [32, 16]}
    drawing = speed([], network, alpha=[1, 4], M=[4], gamma=[1], batch_size=8, rounds=2, **forms)
    found = {(row["gamma"], row["result"], row["alpha"]): row["mean"] for row in drawing.data}
    assert len(drawing.data) == 16 and {row["rounds"] for row in drawing.data} == {2}
    for panel in ("1", "gamma = 1, grouped", "gamma = 1, 16 bits", "gamma = 1, grouped, 16 bits"):
        # torch counts the gradient by a grouped convolution's weights as if it had no groups
        for key in ("speed/inference",) if "grouped" in panel else ("speed/training", "speed/inference"):
            assert found[panel, key, 4] == pytest.approx(4, rel=1e-3) and 0.1 < found[panel, key, 1] < 1
