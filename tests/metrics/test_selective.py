"""Whom to decide and whom to leave: coverage at a risk; what is taken for what; and metrics in anyone's module."""

import re
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from sklearn.metrics import confusion_matrix
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from ensembles.errors import UserError
from ensembles.metrics import CoverageAtRisk, OODDetection, confusion, summarise
from ensembles.metrics.base import Predicted, log_mean
from ensembles.metrics.classification import Statistics, coverage_at_risk


def drawn(N=203, M=3, K=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(K, (N,), generator=generator)
    logits = torch.randn(M, N, K, generator=generator) + 2 * nn.functional.one_hot(labels, K)
    return logits, labels


def by_thresholds(confidence, correct, risk):
    """Try every threshold."""
    best = 0.0
    for threshold in confidence.tolist():
        decided = confidence >= threshold
        if (1 - correct[decided]).mean() <= risk:
            best = max(best, decided.double().mean().item())
    return best


@pytest.mark.parametrize("risk", [0, 0.01, 0.05, 0.2, 0.9])
@pytest.mark.parametrize("steps", [None, 10])
def test_coverage_at_a_risk(risk, steps):
    """With ``steps`` many confidences are equal."""
    logits, labels = drawn()
    confidence, predicted = log_mean(logits).exp().max(-1)
    if steps:
        confidence = (confidence * steps).round() / steps
    correct = (predicted == labels).double()
    of = Statistics(confidence, correct, confidence, confidence)
    assert coverage_at_risk(of, risk).item() == pytest.approx(by_thresholds(confidence, correct, risk))


def test_nothing_is_decided_where_the_surest_is_wrong():
    of = Statistics(torch.tensor([0.9, 0.5]), torch.tensor([0.0, 1.0]), torch.zeros(2), torch.zeros(2))
    assert coverage_at_risk(of, 0.4) == 0 and coverage_at_risk(of, 0.5) == 1


def test_the_metric_is_the_function_batch_by_batch_and_for_each_member():
    logits, labels = drawn()
    metric, members = CoverageAtRisk(0.1), CoverageAtRisk(0.1, of="members")
    for start in range(0, 203, 50):
        for one in (metric, members):
            one.update(logits[:, start : start + 50], labels[start : start + 50])
    wanted = summarise([("test", Predicted(logits, labels))], risk=0.1)
    assert metric.compute().item() == wanted["selective/coverage"] and wanted["selective/risk"] == 0.1
    alone = [summarise([("test", Predicted(member[None], labels))], risk=0.1) for member in logits]
    assert members.compute().tolist() == [found["selective/coverage"] for found in alone]
    with pytest.raises(UserError, match="risk is 1, but must be a number from 0 to 1"):
        CoverageAtRisk(1)


def test_confusion_is_scikit_learns():
    logits, labels = drawn()
    log_p = log_mean(logits)
    assert confusion(log_p, labels).tolist() == confusion_matrix(labels, log_p.argmax(-1)).tolist()


def test_energy_is_told_only_where_it_is_asked_for():
    sets = [("test", Predicted(*drawn())), ("ood/noise", Predicted(drawn(seed=1)[0], torch.full((203,), -1)))]
    plain, asked = summarise(sets), summarise(sets, energy=True)
    more = {f"ood/noise/energy/{name}" for name in ("auroc", "aupr", "fpr95")}
    assert asked.keys() - plain.keys() == more and plain.items() <= asked.items()
    metric = OODDetection(3, "energy")
    metric.update(sets[0][1].logits, torch.zeros(203))
    metric.update(sets[1][1].logits, torch.ones(203))
    assert metric.compute()["auroc"] == asked["ood/noise/energy/auroc"]


def anyones():
    """The module that docs/decisions.md shows, which knows nothing of this package but its metrics."""
    text = (Path(__file__).parents[2] / "docs/decisions.md").read_text()
    (block,) = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "class Anyones" in block]
    found = {}
    exec(block, found)
    return found["Anyones"]


def test_metrics_in_anyones_module():
    torch.manual_seed(0)
    module, x, y = anyones()(nn.Linear(6, 3)), torch.randn(50, 6), torch.randint(3, (50,))
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(accelerator="cpu", enable_model_summary=False, **quiet)
    (found,) = trainer.test(module, DataLoader(TensorDataset(x, y), batch_size=16), verbose=False)
    assert found["Accuracy"] == pytest.approx((module.network(x).argmax(1) == y).float().mean().item())
    assert found.keys() == {"Accuracy", "NLL", "ECE", "AURC", "CoverageAtRisk"}
