"""Fitted temperatures against other optimisers, and what they do to each metric."""

import math

import pytest
import torch
from torch.nn import functional

from ensembles.metrics import scores
from ensembles.metrics.base import log_mean
from ensembles.metrics.temperature import Temperatures, best_temperature, fit, scaled


def draw(M=3, N=400, K=5, scale=3.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(K, (N,), generator=generator)
    logits = torch.randn(N, K, generator=generator) + 0.7 * torch.randn(M, N, K, generator=generator)
    logits[:, torch.arange(N), labels] += 1.5
    return scale * logits, labels


def by_lbfgs(log_p, labels):
    log_t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_t], max_iter=200, tolerance_change=0, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = functional.cross_entropy(log_p / log_t.exp(), labels)
        loss.backward()
        return loss

    optimizer.step(closure)
    return log_t.exp().item()


@pytest.mark.parametrize("scale", [0.2, 1.0, 3.0, 20.0])
def test_temperatures_agree_with_lbfgs(scale):
    logits, labels = draw(scale=scale)
    found = fit(logits, labels)
    assert found.pool == pytest.approx(by_lbfgs(log_mean(logits), labels), rel=1e-6)
    expected = [by_lbfgs(member.double(), labels) for member in logits]
    assert found.members == pytest.approx(expected, rel=1e-6)


def test_scaling_all_logits_scales_the_temperature():
    logits, labels = draw(M=1)
    log_p = logits[0].double()
    assert best_temperature(7 * log_p, labels) == pytest.approx(7 * best_temperature(log_p, labels), rel=1e-7)


def all_right():
    labels = torch.arange(60) % 5
    return functional.one_hot(labels, 5).double() * 0.3, labels


def all_wrong():
    logits, labels = all_right()
    return -logits, labels


DEGENERATE = {
    "every example right": all_right(),
    "every example wrong": all_wrong(),
    "all classes alike": (torch.zeros(50, 4, dtype=torch.float64), torch.zeros(50, dtype=torch.long)),
    "one class": (torch.zeros(50, 1, dtype=torch.float64), torch.zeros(50, dtype=torch.long)),
    "one example, right": (torch.tensor([[0.0, -3e38]]).double(), torch.tensor([0])),
    "one example, certain and wrong": (torch.tensor([[-3e38, 0.0]]).double(), torch.tensor([0])),
}


@pytest.mark.parametrize(("log_p", "labels"), DEGENERATE.values(), ids=DEGENERATE.keys())
def test_where_no_temperature_is_best_it_stays_1_and_says_so(log_p, labels):
    assert best_temperature(log_p, labels) is None
    with pytest.warns(UserWarning, match="No temperature is best for the ensemble, member 1, "):
        assert fit(log_p[None], labels) == Temperatures(1.0, [1.0])


def test_probabilities_of_0_and_1_with_a_mistake_have_a_temperature():
    """One certain mistake among 100 certain examples: 99 % is likeliest, so log 0.01/(0.99) = -gap / T."""
    labels = torch.zeros(100, dtype=torch.long)
    log_p = torch.tensor([0.0, -800.0], dtype=torch.float64).repeat(100, 1)
    log_p[7] = log_p[7].flip(0)
    assert best_temperature(log_p, labels) == pytest.approx(800 / math.log(99), rel=1e-7)


def test_scaled_metrics_are_those_of_scaled_logits():
    logits, labels = draw()
    temperatures = Temperatures(2.5, [0.5, 1.0, 3.0])
    found = scaled(logits, labels, temperatures)
    each = logits.double() / torch.tensor(temperatures.members).view(-1, 1, 1)
    pool = (logits.double().softmax(-1).mean(0).log() / 2.5)[None]
    for name in ("acc", "nll", "ece", "brier"):
        assert found[f"pool/{name}"] == pytest.approx(scores(pool, labels)[name], abs=1e-12)
        assert found[f"average/{name}"] == pytest.approx(scores(each, labels)[name], abs=1e-12)
        alone = [scores(member[None], labels)[name] for member in each]
        assert found[f"members/{name}"] == pytest.approx(alone, abs=1e-12)
    assert (found["pool/temperature"], found["members/temperature"]) == (2.5, [0.5, 1.0, 3.0])


def test_overconfident_predictions_are_calibrated_on_other_examples():
    held_out, test = draw(N=4000, seed=1), draw(N=4000, seed=2)
    found = scaled(*test, fit(*held_out))
    before = scores(*test)
    assert found["pool/temperature"] > 1.2
    assert found["pool/acc"] == before["acc"]
    assert found["pool/nll"] < before["nll"] and found["pool/ece"] < before["ece"] / 2
