"""Whether the rows of a table stand in the paper's order."""

import numpy as np
import pytest
from scipy.stats import ttest_ind

from ensembles.reports.agreement import agreement, agreement_sentence, differ
from ensembles.reports.table_result import Cell, Head, Line, TableResult


def line(method, data, *cells, runs=None):
    folder = runs or f"{method}-{data}"
    return Line([method, data], "Table 1", "done", list(cells), runs=[{"folder": f"{folder}-{k}"} for k in range(4)])


def acc(paper, mean, std, seeds=4):
    return Cell(paper, mean, std, difference=None if paper is None else mean - float(paper), seeds=seeds)


def of(*numbers):
    return acc("1", np.mean(numbers), np.std(numbers, ddof=1), len(numbers))


def table(*lines):
    columns = [Head("test/acc", "Accuracy", "", "higher"), Head("cost/params", "Params", "", "lower")]
    about = {
        "name": "p/t",
        "title": "T",
        "scale": "full",
        "substitutions": [],
        "paper": "P",
        "cites": "Table 1",
    }
    return TableResult(**about, heads=["Method", "Data"], columns=columns, lines=list(lines), notes=[])


PARAMS = Cell(paper="1", mean=1.0, std=0.0, difference=0.0)


def test_pairs_are_counted_by_their_order_and_their_test():
    result = table(
        line("a", "C10", acc("96.0", 60.0, 1.0), PARAMS),
        line("b", "C10", acc("95.0", 58.0, 1.0), PARAMS),  # 2.0 from a, p = 0.03: as in the paper
        line("c", "C10", acc("96.5", 58.9, 1.0), PARAMS),  # 1.1 from a, 0.9 from b, p > 0.1: chance both
        line("d", "C10", acc("97.0", 50.0, 1.0), PARAMS),  # below all three: reversed
        line("e", "C10", acc("95.0", 70.0, 1.0), PARAMS),  # equal to b in the paper; reversed with a, c, d
        line("f", "C100", acc("80.0", 65.0, 1.0), PARAMS),  # other data
        line("g", "C10", acc("90.0", 10.0, None, 1), PARAMS),  # one seed
        line("h", "C10", acc(None, 10.0, 1.0), PARAMS),  # not printed
    )
    assert agreement(result) == {"Accuracy": {"as in the paper": 1, "within chance": 2, "reversed": 6}}
    assert agreement_sentence(result) == (
        "Pairs of rows as in the paper, reversed, within chance (Welch's t test at 5 %): Accuracy 1/6/2."
    )
    assert agreement_sentence(result) in result.markdown()


def test_the_same_runs_are_judged_once_and_not_against_themselves():
    result = table(
        line("a", "C10", acc("96.0", 60.0, 1.0), PARAMS, runs="a"),
        line("b", "C10", acc("95.0", 50.0, 1.0), PARAMS, runs="b"),
        line("b, too", "C10", acc("94.0", 50.0, 1.0), PARAMS, runs="b"),
        line("a", "C100", acc("70.0", 60.0, 1.0), PARAMS, runs="a"),
        line("b", "C100", acc("75.0", 50.0, 1.0), PARAMS, runs="b"),
    )
    assert agreement(result) == {"Accuracy": {"as in the paper": 1}}


def test_nothing_is_said_of_single_seeds():
    one = [line(name, "C10", acc(paper, 60.0, None, 1), PARAMS) for name, paper in (("a", "96.0"), ("b", "95.0"))]
    assert agreement(table(*one)) == {} and agreement_sentence(table(*one)) is None


@pytest.mark.parametrize("seeds", [(2, 2), (3, 3), (5, 3)])
def test_the_test_is_welchs(seeds):
    drawn = np.random.default_rng(0)
    for _ in range(50):
        first, second = drawn.normal(0, 1, seeds[0]), drawn.normal(2, 3, seeds[1])
        assert differ(of(*first), of(*second)) == (ttest_ind(first, second, equal_var=False).pvalue <= 0.05)


def test_without_spread_any_difference_counts():
    assert differ(of(1.0, 1.0), of(1.5, 1.5)) and not differ(of(1.0, 1.0), of(1.0, 1.0))
    assert differ(of(1.0, 1.0, 1.0), of(2.0, 2.1, 1.9)) and not differ(of(1.0, 1.0, 1.0), of(1.0, 1.5, 0.9))
