"""Each metric against scikit-learn, torchmetrics or a plain loop, on ordinary and on degenerate predictions."""

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss
from torchmetrics.functional.classification import multiclass_calibration_error

from ensembles.errors import UserError
from ensembles.metrics import scores
from ensembles.metrics.base import log_mean
from ensembles.metrics.classification import equal_mass, equal_width


def draw(M=4, N=997, K=7, scale=1.0):
    generator = torch.Generator().manual_seed(M * N + K)
    logits = scale * torch.randn(M, N, K, generator=generator)
    labels = torch.randint(K, (N,), generator=generator)
    logits[:, torch.arange(N), labels] += scale
    return logits, labels


def one_class():
    logits, labels = draw()
    return logits, torch.full_like(labels, 3)


def ties():
    logits, labels = draw(N=600, K=5)
    logits = logits.round()  # many equal confidences
    logits[:, :200] = 0  # and all classes equal, on a bin's edge
    return logits, labels


def certain():
    logits, labels = draw(N=300)
    return (logits.argmax(-1, keepdim=True) == torch.arange(7)) * 1e4, labels  # probabilities of exactly 0 and 1


CASES = {
    "random": draw,
    "one member": lambda: draw(M=1),
    "two classes": lambda: draw(M=2, K=2),
    "sharp": lambda: draw(scale=6.0),
    "one class": one_class,
    "ties": ties,
    "certain": certain,
    "half precision": lambda: (draw()[0].half(), draw()[1]),
    "fewer examples than bins": lambda: draw(N=9),
    "one example": lambda: draw(N=1),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request):
    logits, labels = request.param()
    return logits, labels, logits.double().softmax(-1).mean(0)


def loop_ece(confidence, correct, edges):
    """Over explicit edges, each bin closed on its left (and the last one on both sides)."""
    total = 0.0
    for i, (low, high) in enumerate(itertools.pairwise(edges)):
        last = i == len(edges) - 2
        inside = [j for j, c in enumerate(confidence) if low <= c + 1e-12 and (c + 1e-12 < high or last)]
        if inside:
            gap = sum(correct[j] for j in inside) / len(inside) - sum(confidence[j] for j in inside) / len(inside)
            total += len(inside) / len(confidence) * abs(gap)
    return total


def test_accuracy_nll_and_brier_agree_with_scikit_learn(case):
    logits, labels, p = case
    K = logits.shape[-1]
    found = scores(logits, labels)
    assert found["acc"] == pytest.approx(accuracy_score(labels, p.argmax(-1)), abs=1e-12)
    reference = brier_score_loss(labels, p.numpy(), labels=range(K), scale_by_half=False)
    assert found["brier"] == pytest.approx(reference, abs=1e-9)
    if (p[torch.arange(len(labels)), labels] > 1e-15).all():  # scikit-learn clips smaller ones
        assert found["nll"] == pytest.approx(log_loss(labels, p.numpy(), labels=range(K)), abs=1e-9)


def test_ece_agrees_with_torchmetrics_and_with_a_loop(case):
    logits, labels, p = case
    confidence, predicted = p.max(-1)
    found = scores(logits, labels, ["ece"])["ece"]
    by_loop = loop_ece(confidence.tolist(), (predicted == labels).double().tolist(), np.linspace(0, 1, 16))
    assert found == pytest.approx(by_loop, abs=1e-9)
    below = p.clamp(max=1 - 1e-7)  # torchmetrics puts a confidence of exactly 1 into a bin of its own, a sixteenth
    reference = multiclass_calibration_error(below, labels, logits.shape[-1], n_bins=15).item()
    assert found == pytest.approx(reference, abs=1e-6)


def test_classwise_ece_is_the_mean_of_one_loop_for_each_class(case):
    logits, labels, p = case
    edges = np.linspace(0, 1, 16)
    each = [loop_ece(p[:, k].tolist(), (labels == k).double().tolist(), edges) for k in range(p.shape[1])]
    assert scores(logits, labels, ["cece"])["cece"] == pytest.approx(np.mean(each), abs=1e-9)


def test_adaptive_ece_and_aurc_agree_with_sorting_by_hand():
    logits, labels = draw()
    confidence, predicted = logits.double().softmax(-1).mean(0).max(-1)
    order = np.argsort(-confidence.numpy())
    confidence, correct = confidence.numpy()[order], (predicted == labels).numpy()[order]
    groups = np.array_split(np.arange(len(order)), 15)
    adaptive = sum(abs(correct[g].sum() - confidence[g].sum()) for g in groups) / len(order)
    risk = [1 - correct[:n].mean() for n in range(1, len(order) + 1)]
    found = scores(logits, labels)
    assert found["aece"] == pytest.approx(adaptive, abs=1e-9)
    assert found["aurc"] == pytest.approx(np.mean(risk), abs=1e-9)


def test_aurc_with_ties_is_the_mean_over_their_orders():
    probabilities = torch.tensor([[0.9, 0.1], [0.7, 0.3], [0.7, 0.3]])
    labels = torch.tensor([0, 0, 1])  # right; of the two equal ones, one right and one wrong
    orders = [[0, 0, 1], [0, 1, 0]]
    expected = np.mean([[sum(errors[:n]) / n for n in (1, 2, 3)] for errors in orders])
    assert scores(probabilities.log()[None], labels, ["aurc"])["aurc"] == pytest.approx(expected)


@pytest.mark.parametrize("name", ["ece", "aece", "cece", "aurc", "nll", "brier", "acc"])
def test_order_of_examples_does_not_matter(name):
    logits, labels = ties()
    shuffle = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    there, back = scores(logits, labels, [name]), scores(logits[:, shuffle], labels[shuffle], [name])
    assert there[name] == pytest.approx(back[name], abs=1e-12)


def test_values_worked_out_by_hand():
    p = torch.tensor([[[0.8, 0.2], [0.6, 0.4]], [[0.4, 0.6], [1.0, 1e-30]]], dtype=torch.float64)  # mean .6 .4; .8 .2
    found = scores(p.log(), torch.tensor([0, 1]))
    assert found["acc"] == 0.5
    assert found["nll"] == pytest.approx(-(math.log(0.6) + math.log(0.2)) / 2)
    assert found["brier"] == pytest.approx((0.16 + 0.16 + 0.64 + 0.64) / 2)
    assert found["ece"] == pytest.approx((0.4 + 0.8) / 2)
    assert found["cece"] == pytest.approx((0.4 + 0.8) / 2)
    assert found["aurc"] == pytest.approx((1 + 0.5) / 2)


def test_nll_of_a_certain_mistake_is_finite_and_exact():
    logits = torch.tensor([[[1000.0, 0.0]], [[3000.0, 0.0]]])
    expected = 1000 + math.log(2)  # log-sum-exp(-1000, -3000) - log 2
    assert scores(logits, torch.tensor([1]), ["nll"])["nll"] == pytest.approx(expected, abs=1e-9)
    huge = scores(torch.tensor([[[3e38, -3e38, 0.0]]]), torch.tensor([1]))
    assert huge["nll"] == pytest.approx(6e38)
    assert (huge["acc"], huge["brier"], huge["ece"]) == (0, 2, 1)


def test_one_possible_class_is_predicted_perfectly():
    found = scores(torch.randn(3, 10, 1), torch.zeros(10, dtype=torch.int64))
    assert found == {"acc": 1, "nll": 0, "ece": 0, "brier": 0, "aece": 0, "cece": 0, "aurc": 0}


def test_large_sets_are_worked_through_in_pieces_that_leave_no_trace(monkeypatch):
    logits, _ = draw(N=50)
    whole = log_mean(logits)
    monkeypatch.setattr("ensembles.metrics.base.CHUNK", 200)
    torch.testing.assert_close(log_mean(logits), whole, rtol=0, atol=0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_refused(bad):
    logits, labels = draw(N=20)
    logits[1, 5, 2] = bad
    with pytest.raises(UserError, match="NaN or infinity"):
        scores(logits, labels)


def test_equal_width_bins_are_closed_on_the_left_and_the_last_one_on_both_sides():
    confidence = torch.tensor([0.0, 0.24, 0.25, 0.5, 0.75, 1.0], dtype=torch.float64)
    correct = torch.tensor([0, 1, 0, 1, 1, 0], dtype=torch.bool)
    bins = equal_width(confidence, correct, bins=4)
    assert bins.count.tolist() == [2, 1, 1, 2]
    assert bins.confidence.tolist() == pytest.approx([0.24, 0.25, 0.5, 1.75])
    assert bins.correct.tolist() == [1, 0, 1, 1]
    assert bins.error.item() == pytest.approx((0.76 + 0.25 + 0.5 + 0.75) / 6)


def test_a_confidence_an_ulp_below_an_edge_counts_as_on_it():
    fifth = torch.tensor([0.2], dtype=torch.float64)
    below = torch.nextafter(fifth, torch.zeros(1, dtype=torch.float64))
    assert equal_width(below, torch.ones(1)).count.argmax() == equal_width(fifth, torch.ones(1)).count.argmax() == 3


def test_columns_are_binned_apart():
    confidence = torch.rand(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    correct = confidence > 0.3
    apart = [equal_width(confidence[:, k], correct[:, k]).error.item() for k in range(3)]
    assert equal_width(confidence, correct).error.tolist() == pytest.approx(apart)


def test_equal_mass_bins_hold_equally_many():
    confidence = torch.rand(47, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    bins = equal_mass(confidence, confidence > 0.5)
    assert set(bins.count.tolist()) == {3, 4}
    assert (bins.confidence / bins.count).diff().lt(0).all()


def test_an_edge_through_equals_does_not_see_which_are_correct():
    half = torch.full((4,), 0.5, dtype=torch.float64)
    for correct in ([1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]):
        bins = equal_mass(half, torch.tensor(correct), bins=2)
        assert bins.correct.tolist() == [1, 1]
        assert bins.error.item() == 0
