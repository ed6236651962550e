from itertools import pairwise

import pytest
from matplotlib.text import Text

from ensembles.metrics.shift import ALEXNET
from ensembles.reports.severity import FAMILIES, severity


def results(types, severities=(1, 2, 3, 4, 5)):
    found = {"test/acc": 0.9, "test/ece": 0.02, "corrupted/acc": 0.5, "corrupted/cells": 10}
    for i, type in enumerate(types):
        for s in severities:
            found |= {f"corrupted/{type}/{s}/acc": 0.8 - 0.1 * s - 0.01 * i, f"corrupted/{type}/{s}/ece": 0.05 * s}
    return found


def test_each_standard_type_belongs_to_a_family():
    assert sorted(type for *_, types in FAMILIES.values() for type in types) == sorted(ALEXNET)


def test_each_type_and_their_mean_start_at_the_test_set():
    figure = severity(results(ALEXNET))
    accuracy, ece = figure.axes
    assert len(accuracy.lines) == 16 and len(ece.lines) == 5  # the types, the families
    for line in accuracy.lines:
        assert line.get_xdata().tolist() == [0, 1, 2, 3, 4, 5]
        assert line.get_ydata()[0] == pytest.approx(90)
    assert accuracy.lines[-1].get_ydata()[1:] == pytest.approx([100 * (0.8 - 0.1 * s - 0.07) for s in range(1, 6)])
    assert ece.lines[-1].get_ydata() == pytest.approx([0.02, 0.05, 0.1, 0.15, 0.2, 0.25])
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["mean", "noise", "blur", "weather", "digital"]


def test_each_line_has_its_name_in_the_order_of_the_ends_and_none_covers_another():
    axes = severity(results(ALEXNET)).axes[0]  # the ends are one per cent apart
    axes.figure.draw_without_rendering()
    names = sorted(axes.texts, key=lambda text: -text.xyann[1])
    assert [text.get_text() for text in names][::14] == ["gaussian noise", "jpeg"]
    boxes = [Text.get_window_extent(text) for text in names]
    assert all(upper.y0 >= lower.y1 - 1 for upper, lower in pairwise(boxes))
    assert all(text.xyann[1] <= axes.get_ylim()[1] for text in names)


def test_what_there_is_is_drawn():
    some = results(["fog", "snow"], [2, 5])
    del some["corrupted/snow/5/acc"]
    figure = severity(some | {"corrupted/spatter/2/acc": 0.1, "corrupted/spatter/2/ece": 0.1})
    accuracy = figure.axes[0]
    assert [line.get_xydata().tolist() for line in accuracy.lines] == [
        [[0, 90], [2, pytest.approx(60)], [5, pytest.approx(30)]],
        [[0, 90], [2, pytest.approx(59)]],
        [[0, 90], [2, pytest.approx(59.5)], [5, pytest.approx(30)]],
    ]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["mean", "weather"]
    assert {text.get_text(): text.xy for text in accuracy.texts} == {
        "fog": (5, pytest.approx(30)),
        "snow": (2, pytest.approx(59)),  # where its line ends
    }


def test_without_standard_types_there_is_nothing_to_draw():
    assert severity({"test/acc": 0.5, "test/ece": 0.1}) is None
    assert severity(results(["spatter"])) is None
