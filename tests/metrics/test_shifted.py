"""Shifted sets against scikit-learn on predictions put together by hand."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss
from torchmetrics.functional.classification import multiclass_calibration_error

from ensembles.errors import UserError
from ensembles.metrics import Predicted, scores
from ensembles.metrics.shift import shifted


def draw(M=3, N=300, K=6, among=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    among = torch.arange(K) if among is None else torch.tensor(among)
    labels = among[torch.randint(len(among), (N,), generator=generator)]
    logits = torch.randn(M, N, K, generator=generator)
    logits[:, torch.arange(N), labels] += 1
    return logits, labels


def test_a_set_of_all_classes_is_measured_as_any_other():
    logits, labels = draw()
    for restrict in (True, False):
        found = shifted("shift/all", Predicted(logits, labels), restrict)
        assert found == pytest.approx(scores(logits, labels, ("acc", "nll", "ece")), abs=1e-12)


def test_restricted_to_its_classes_or_not():
    classes = [4, 1, 2]
    logits, labels = draw(among=classes)
    position = torch.tensor([classes.index(label) for label in labels.tolist()])
    p = logits[..., classes].double().softmax(-1).mean(0)
    found = shifted("shift/some", Predicted(logits, labels, classes))
    assert found["acc"] == pytest.approx(accuracy_score(position, p.argmax(-1)))
    assert found["nll"] == pytest.approx(log_loss(position, p.numpy(), labels=range(3)), abs=1e-9)
    assert found["ece"] == pytest.approx(multiclass_calibration_error(p, position, 3, n_bins=15).item(), abs=1e-6)
    unrestricted = shifted("shift/some", Predicted(logits, labels, classes), restrict=False)
    assert unrestricted == pytest.approx(scores(logits, labels, ("acc", "nll", "ece")), abs=1e-12)
    assert unrestricted["acc"] < found["acc"] and unrestricted["nll"] > found["nll"]


@pytest.mark.parametrize("restrict", [True, False])
def test_classes_that_count_as_one(restrict):
    """0 and 3 are one, 1 and 2 and 5 another; 4 is not covered. A label is any of its group."""
    group = np.array([0, 1, 1, 0, 2, 1])
    logits, labels = draw(among=[0, 3, 1, 5])
    p = logits.double()
    if restrict:
        p[..., 4] = -torch.inf
    p = p.softmax(-1).mean(0).numpy()
    found = shifted("shift/merged", Predicted(logits, labels, [[0, 3], [1, 2, 5]]), restrict)
    assert found["acc"] == pytest.approx(accuracy_score(group[labels], group[p.argmax(-1)]))
    merged = np.stack([p[:, group == g].sum(-1) for g in range(3)], axis=1)
    assert found["nll"] == pytest.approx(log_loss(group[labels], merged, labels=range(3)), abs=1e-9)


def test_several_classes_that_are_right_for_an_example():
    logits = draw(N=4, K=4)[0]
    accepted = torch.tensor([[1, 1, 0, 0], [0, 1, 0, 0], [1, 1, 1, 1], [0, 0, 1, 1]]).bool()
    p = logits.double().softmax(-1).mean(0)
    found = shifted("shift/frames", Predicted(logits, accepted.int().argmax(1), valid_labels=accepted))
    assert found["nll"] == pytest.approx(-(p * accepted).sum(1).log().mean().item())
    assert found["acc"] == np.mean([accepted[i, p[i].argmax()] for i in range(4)])


def test_frames_of_videos():
    right = [True, True, False, True, True, True, False]
    groups = [[0, 1], [3, 2, 4], [5], [6, 0], [1, 4, 0, 3]]
    labels = torch.zeros(7, dtype=torch.long)
    logits = torch.tensor([[[2.0, 0.0] if ok else [0.0, 2.0] for ok in right]])
    found = shifted("shift/frames", Predicted(logits, labels, groups=groups))
    assert found["acc"] == pytest.approx(5 / 7)
    assert found["anchor_acc"] == 4 / 5
    assert found["pmk_acc"] == np.mean([all(right[i] for i in group) for group in groups]) == 3 / 5
    assert "pmk_acc" not in shifted("shift/frames", Predicted(logits, labels))


def test_a_class_that_is_certainly_wrong_has_a_finite_nll():
    logits, labels = torch.tensor([[[1e4, 0.0, -1e4]]]), torch.tensor([2])
    assert shifted("shift/x", Predicted(logits, labels, [0, 2]))["nll"] == pytest.approx(2e4)
    assert shifted("shift/x", Predicted(logits, labels, [2])) == {"acc": 1, "nll": 0, "ece": 0}


def test_what_does_not_fit_is_refused():
    logits, labels = draw()
    for restrict in (True, False):
        with pytest.raises(UserError, match="'shift/x' has labels of classes that it is said not to cover"):
            shifted("shift/x", Predicted(logits, labels, [0, 1]), restrict)
    for groups in ([[0], []], [[0, 300]], [[-1]]):
        with pytest.raises(UserError, match="'shift/x' has groups of frames"):
            shifted("shift/x", Predicted(logits, labels, groups=groups))
