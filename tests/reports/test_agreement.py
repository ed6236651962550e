"""Whether the rows of a table stand in the paper's order."""

from ensembles.reports import paper_table
from ensembles.reports.agreement import agreement, sentence
from ensembles.reports.sheet import Cell, Head, Line, Sheet


def line(method, data, seeds, *cells):
    return Line([method, data], "Table 1", "done", list(cells), runs=[{"results": {"test/acc": 1.0}}] * seeds)


def acc(paper, mean, std):
    return Cell(paper=paper, mean=mean, std=std, difference=None if paper is None else mean - float(paper))


def table(*lines):
    columns = [Head("test/acc", "Accuracy", "", "higher"), Head("cost/params", "Params", "", "lower")]
    about = {"name": "p/t", "title": "T", "scale": "small", "stands": ["a for b"], "paper": "P", "cites": "Table 1"}
    return Sheet(**about, heads=["Method", "Data"], columns=columns, lines=list(lines), notes=[])


PARAMS = Cell(paper="1", mean=1.0, std=0.0, difference=0.0)


def test_pairs_are_counted_by_their_order_and_their_standard_errors():
    sheet = table(
        line("a", "C10", 4, acc("96.0", 60.0, 1.0), PARAMS),
        line("b", "C10", 4, acc("95.0", 58.0, 1.0), PARAMS),  # 2.0 from a, of 1.41: as in the paper
        line("c", "C10", 4, acc("96.5", 58.9, 1.0), PARAMS),  # 1.1 from a, 0.9 from b: chance both
        line("d", "C10", 4, acc("97.0", 50.0, 1.0), PARAMS),  # below all three: reversed
        line("e", "C10", 4, acc("95.0", 70.0, 1.0), PARAMS),  # equal to b in the paper; reversed with a, c, d
        line("f", "C100", 4, acc("80.0", 65.0, 1.0), PARAMS),  # other data
        line("g", "C10", 1, acc("90.0", 10.0, None), PARAMS),  # one seed
        line("h", "C10", 4, acc(None, 10.0, 1.0), PARAMS),  # not printed
    )
    assert agreement(sheet) == {"Accuracy": {"as in the paper": 1, "within chance": 2, "reversed": 6}}
    assert sentence(sheet).endswith("Accuracy 1/6/2.")
    assert sentence(sheet) in paper_table.markdown(sheet)


def test_nothing_is_said_of_single_seeds():
    sheet = table(
        line("a", "C10", 1, acc("96.0", 60.0, None), PARAMS), line("b", "C10", 1, acc("95.0", 58.0, None), PARAMS)
    )
    assert agreement(sheet) == {} and sentence(sheet) is None
