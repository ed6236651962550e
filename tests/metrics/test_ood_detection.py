import time

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from sklearn.metrics import average_precision_score, roc_auc_score
from torchmetrics.functional.classification import binary_specificity_at_sensitivity

from ensembles.metrics.ood import criteria, detection


def gaussians(inside=400, outside=300, shift=1.0):
    generator = torch.Generator().manual_seed(2)
    drawn = torch.randn(inside + outside, generator=generator, dtype=torch.float64)
    return drawn[:inside], drawn[inside:] + shift


CASES = {
    "random": gaussians(),
    "ties": tuple(x.round() for x in gaussians()),
    "all equal": (torch.zeros(40), torch.zeros(60)),
    "apart": (torch.zeros(40), torch.ones(60)),
    "the wrong way round": (torch.ones(40), torch.zeros(60)),
    "one of each": (torch.tensor([0.3]), torch.tensor([0.4])),
    "unbalanced": gaussians(inside=1000, outside=7),
    "exactly 95 %": gaussians(outside=20),
}


@pytest.mark.parametrize(("inside", "outside"), CASES.values(), ids=CASES.keys())
def test_detection_agrees_with_scikit_learn_and_counting(inside, outside):
    found = detection(inside, outside)
    target = torch.cat([torch.zeros(len(inside)), torch.ones(len(outside))]).long()
    score = torch.cat([inside, outside])
    assert found["auroc"] == pytest.approx(roc_auc_score(target, score), abs=1e-6)
    assert found["aupr"] == pytest.approx(average_precision_score(target, score), abs=1e-6)
    higher = (outside[:, None] > inside).double() + (outside[:, None] == inside).double() / 2
    assert found["auroc"] == pytest.approx(higher.mean().item(), abs=1e-6)

    # in 5 % of 20 the one lowest may be missed, in fewer than 20 none: 100 found > 95 found, in integers
    enough = [t for t in outside.tolist() if 100 * (outside >= t).sum().item() >= 95 * len(outside)]
    assert found["fpr95"] == pytest.approx((inside >= max(enough)).double().mean().item(), abs=1e-12)
    ranks = torch.searchsorted(score.unique(), score).double() / len(score)  # torchmetrics wants them in [0, 1]
    specificity, _ = binary_specificity_at_sensitivity(ranks, target, min_sensitivity=0.95)
    if len(outside) != 20:  # 19/20 is below 0.95 in torchmetrics' single precision
        assert found["fpr95"] == pytest.approx(1 - specificity.item(), abs=1e-6)


def test_criteria_agree_with_their_definitions():
    logits = 3 * torch.randn(4, 60, 6, generator=torch.Generator().manual_seed(3))
    p = logits.double().softmax(-1).numpy()
    mean = p.mean(0)
    expected = {
        "max_probability": -mean.max(-1),
        "max_logit": -logits.double().mean(0).amax(-1).numpy(),
        "energy": -np.log(np.exp(logits.double().mean(0).numpy()).sum(-1)),
        "entropy": entropy(mean, axis=-1),
        "mutual_information": entropy(mean, axis=-1) - entropy(p, axis=-1).mean(0),
        "variance": p.var(0, ddof=1).sum(-1),
    }
    found = criteria(logits)
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name].numpy(), value, atol=1e-12, err_msg=name)


def test_criteria_rise_where_members_are_unsure_or_differ():
    sure, unsure, differ = [[9.0, 0, 0], [9.0, 0, 0]], [[0.0, 0, 0], [0.0, 0, 0]], [[9.0, 0, 0], [0, 9.0, 0]]
    found = criteria(torch.tensor([sure, unsure, differ]).transpose(0, 1))
    for name in ("max_probability", "max_logit", "entropy"):
        assert found[name][0] < found[name][1] and found[name][0] < found[name][2], name
    for name in ("mutual_information", "variance"):
        assert found[name][0] == pytest.approx(0, abs=1e-12) and found[name][1] == pytest.approx(0, abs=1e-12)
        assert found[name][2] > 0.1, name


def test_certain_members_give_finite_scores():
    logits = torch.tensor([[[1e30, -1e30, 0.0]], [[-1e30, 1e30, 0.0]]])
    found = criteria(logits)
    assert found["entropy"].item() == pytest.approx(np.log(2))
    assert found["mutual_information"].item() == pytest.approx(np.log(2))
    assert found["variance"].item() == pytest.approx(1.0)


def test_criteria_of_members_need_members():
    assert set(criteria(torch.randn(1, 5, 3))) == {"max_probability", "max_logit", "energy", "entropy"}


def test_a_hundred_thousand_examples_take_under_a_second():
    inside, outside = gaussians(50_000, 50_000)
    detection(inside[:10], outside[:10])
    start = time.process_time()  # of the CPU: whatever else the machine does
    detection(inside, outside)
    assert time.process_time() - start < 1
