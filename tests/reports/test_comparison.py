"""Plots that compare methods, from what runs say of each test image."""

import numpy as np
import pytest
import torch

from ensembles.metrics import scores
from ensembles.metrics.classification import ranked
from ensembles.reports.comparison import BINS, COVERED, Compared, against_cost, reliability, risk_coverage, severity

N = 20_000


def compared(name, confidence, right):
    return Compared(name, [{}], [{"confidence": confidence, "correct": right.astype(float)}])


def test_gaps_of_the_bins_add_up_to_the_calibration_error():
    drawn = np.random.default_rng(0)
    confidence = drawn.uniform(0.5, 1, N)  # of the likelier of two classes
    right = drawn.random(N) < confidence**2
    logits = torch.from_numpy(np.stack([np.log(confidence), np.log(1 - confidence)], 1))[None]
    ece = scores(logits, torch.from_numpy(~right).long(), ["ece"])["ece"]
    axes = reliability([compared("a", confidence, right)]).axes[0]
    counts = np.histogram(confidence, BINS, (0, 1))[0]
    assert (counts[counts > 0] / N * abs(axes.lines[0].get_ydata())).sum() == pytest.approx(ece)
    assert axes.get_xlabel() == "confidence"


def test_a_method_with_one_bin_is_a_line_over_its_width_and_said_to_be():
    drawn = np.random.default_rng(0)
    spread, sure = drawn.uniform(0.5, 1, 1000), drawn.uniform(0.95, 1, 1000)
    axes = reliability([compared("spread", spread, spread > 0.7), compared("sure", sure, sure > 0.96)]).axes[0]
    x, y = axes.lines[1].get_data()
    assert x == pytest.approx([14 / 15, 1]) and y[0] == y[1] == pytest.approx((sure > 0.96).mean() - sure.mean())
    assert axes.get_xlabel() == "confidence (where a method has one bin: the bin's width)"


def test_images_of_equal_confidence_count_as_their_mean_whatever_their_order():
    drawn = np.random.default_rng(0)
    confidence = np.minimum(drawn.uniform(0.5, 1.3, 1000), 1).astype(np.float16).astype(float)  # 3 in 8 at the maximum
    right = np.sort(drawn.random(1000) < 0.8)  # the wrong ones first, as where classes follow each other
    _, hits = ranked(torch.from_numpy(confidence), torch.from_numpy(right))
    expected = (1 - hits).cumsum(0) / torch.arange(1, 1001)
    for order in (slice(None), slice(None, None, -1)):
        (line,) = risk_coverage([compared("a", confidence[order], right[order])]).axes[0].lines
        assert line.get_ydata() == pytest.approx(100 * expected[(COVERED * 1000).astype(int) - 1].numpy())


def test_severities_are_means_over_the_standard_types():
    results = {
        "test/acc": 0.9,
        "corrupted/fog/1/acc": 0.8,
        "corrupted/snow/1/acc": 0.6,
        "corrupted/saturate/1/acc": 0.0,
    }
    (line,) = severity([Compared("a", [results])]).axes[0].lines
    assert line.get_ydata() == pytest.approx([90, 70])


def test_names_stay_within_the_axes():
    names = ("packed", "packed, own initialiser", "single network", "packed, losses summed")
    places = ((19.4e6, 0.342), (19.4e6, 0.353), (26.7e6, 0.533), (19.4e6, 0.451))
    found = [
        Compared(name, [{"cost/mult_adds": cost, "test/acc": accuracy}])
        for name, (cost, accuracy) in zip(names, places, strict=True)
    ]
    axes = against_cost(found, "cost/mult_adds", "test/acc").axes[0]
    inside = axes.get_window_extent()
    for text in axes.texts:
        box = text.get_window_extent()
        assert box.width > 0 and inside.x0 <= min(box.x0, box.x1)
