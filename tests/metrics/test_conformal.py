"""Prediction sets hold the label as often as they say, and are those of the papers' equations."""

import math

import pytest
import torch

from ensembles.errors import UserError
from ensembles.metrics import ConformalSets, summarise
from ensembles.metrics.base import Predicted
from ensembles.metrics.conformal import SCORES, conformal
from ensembles.rng import generator


def drawn(N, K=5, M=2, seed=0):
    """Examples of the distribution that the network gives, sharpened: exchangeable, and not calibrated."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(1, N, K, generator=generator, dtype=torch.float64)
    labels = torch.multinomial(logits[0].softmax(-1), 1, generator=generator)[:, 0]
    members = 1.5 * logits + 0.3 * torch.randn(M, N, K, generator=generator, dtype=torch.float64)
    return members, labels


def by_hand(logits, labels, tested, miss, score):
    """LAC: p >= 1 - q. APS: classes from the most probable down, the last one kept by a draw (Romano et al., eq. 5)."""

    def scored(logits, purpose):
        p = logits.softmax(-1).mean(0)
        u = torch.rand(len(p), generator=generator("conformal", purpose), dtype=p.dtype)
        found = []
        for i in range(len(p)):
            row = p[i].tolist()
            if score == "lac":
                found.append([1 - value for value in row])
            else:
                found.append([sum(v for v in row if v > value) + u[i].item() * value for value in row])
        return found

    own = sorted(row[label] for row, label in zip(scored(logits, "calibration"), labels.tolist(), strict=True))
    rank = math.ceil((len(own) + 1) * (1 - miss))
    q = own[rank - 1] if rank <= len(own) else math.inf
    return [[value <= q for value in row] for row in scored(tested, "sets")]


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("miss", [0.1, 0.25, 0.5])
def test_sets_are_those_of_the_equations(score, miss):
    (logits, labels), (tested, _) = drawn(67), drawn(40, seed=1)
    found = ConformalSets.calibrated(logits, labels, miss, score)(tested)
    assert found.tolist() == by_hand(logits, labels, tested, miss, score)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("miss", [0.05, 0.2])
def test_coverage_is_what_was_asked_for_on_average(score, miss):
    """Between 1 - miss and 1 - miss + 1 / (n + 1), over calibration sets (Angelopoulos & Bates, 2023, theorem 1)."""
    n, times, tested = 50, 400, 100
    logits, labels = drawn((n + tested) * times)
    found = []
    for part, y in zip(logits.split(n + tested, dim=1), labels.split(n + tested), strict=True):
        sets = ConformalSets.calibrated(part[:, :n], y[:n], miss, score)
        found.append(sets.measure(part[:, n:], y[n:])["coverage"])
    mean, error = sum(found) / times, torch.tensor(found).std().item() / times**0.5
    exact = math.ceil((n + 1) * (1 - miss)) / (n + 1)
    assert mean == pytest.approx(exact, abs=4 * error) and error < 0.005
    assert 1 - miss <= exact <= 1 - miss + 1 / (n + 1)


def test_lac_has_the_smallest_sets_and_aps_larger_ones_for_harder_examples():
    (logits, labels), (tested, y) = drawn(4000), drawn(4000, seed=1)
    lac, aps = (ConformalSets.calibrated(logits, labels, 0.1, score) for score in ("lac", "aps"))
    assert lac.measure(tested, y)["size"] < aps.measure(tested, y)["size"]
    sizes, entropy = aps(tested).sum(1).double(), torch.special.entr(tested.softmax(-1).mean(0)).sum(-1)
    order = entropy.argsort()
    assert sizes[order[:1000]].mean() + 1 < sizes[order[-1000:]].mean()


def test_too_few_examples_give_sets_of_all_classes():
    logits, labels = drawn(8)
    found = conformal(*drawn(30, seed=1), miss=0.1, calibration=(logits, labels))
    assert found == {"lac/coverage": 1, "lac/size": 5, "aps/coverage": 1, "aps/size": 5}


def test_they_are_calibrated_on_the_validation_set_or_on_half_of_the_test_set():
    val, test = Predicted(*drawn(300)), Predicted(*drawn(200, seed=1))
    found = summarise([("val", val), ("test", test)], conformal=0.1)
    sets = ConformalSets.calibrated(val.logits, val.labels, 0.1, "aps")
    wanted = sets.measure(test.logits, test.labels)
    assert {name: found[f"conformal/aps/{name}"] for name in wanted} == wanted
    halves = summarise([("test", test)], conformal=0.1)
    assert halves["conformal/lac/coverage"] * 100 == pytest.approx(round(halves["conformal/lac/coverage"] * 100))
    assert halves["conformal/lac/threshold"] != found["conformal/lac/threshold"]
    assert "conformal/lac/size" not in summarise([("test", test)])


def test_a_score_that_there_is_not():
    with pytest.raises(UserError, match="score is 'raps', but must be lac or aps"):
        ConformalSets.calibrated(*drawn(9), score="raps")
