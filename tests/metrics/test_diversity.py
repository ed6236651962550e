import itertools
import math

import pytest
import torch
from scipy.special import rel_entr

from ensembles.errors import UserError
from ensembles.metrics.diversity import disagreement_by_class, disagreement_matrix, diversity


def draw(M=4, N=203, K=5):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(M, N, K, generator=generator), torch.randint(K, (N,), generator=generator)


def onehot(classes, K=3):
    return torch.nn.functional.one_hot(torch.tensor(classes), K) * 10.0


def test_agrees_with_loops_over_pairs():
    logits, labels = draw()
    p = logits.double().softmax(-1)
    predicted = p.argmax(-1)
    differ, kl, ratio = [], [], []
    for m, n in itertools.permutations(range(4), 2):
        differ.append((predicted[m] != predicted[n]).double().mean().item())
        kl.append(rel_entr(p[m].numpy(), p[n].numpy()).sum(-1).mean())
        ratio.append(differ[-1] / (predicted[m] != labels).double().mean().item())
    found = diversity(logits, labels)
    assert found["disagreement"] == pytest.approx(sum(differ) / 12, abs=1e-12)
    assert found["kl"] == pytest.approx(sum(kl) / 12, abs=1e-9)
    assert found["ratio"] == pytest.approx(sum(ratio) / 12, abs=1e-12)


def test_values_worked_out_by_hand():
    logits = onehot([[0, 1, 2, 0], [0, 1, 1, 1]])  # members differ on the last two of four
    found = diversity(logits, torch.tensor([0, 1, 2, 2]))  # errors: 1/4 and 1/2
    assert found["disagreement"] == 0.5
    assert found["ratio"] == pytest.approx((0.5 / 0.25 + 0.5 / 0.5) / 2)
    certain, even = torch.tensor([[[1e4, 0.0]]]), torch.zeros(1, 1, 2)
    divergence = diversity(torch.cat([certain, even]), torch.tensor([0]))["kl"]
    assert divergence == pytest.approx((math.log(2) + (5000 - math.log(2))) / 2)


def test_matrix_has_a_zero_diagonal_and_is_symmetric():
    matrix = disagreement_matrix(draw()[0])
    assert matrix.diagonal().eq(0).all()
    assert matrix.equal(matrix.T)
    assert matrix[0, 1].item() == pytest.approx((draw()[0][0].argmax(-1) != draw()[0][1].argmax(-1)).double().mean())


def test_copies_have_no_diversity():
    logits, labels = draw(M=1)
    assert diversity(logits.expand(3, -1, -1), labels) == {"disagreement": 0, "kl": 0, "ratio": 0}


def test_one_member_has_no_pairs():
    assert diversity(*draw(M=1)) == {}


def test_ratio_leaves_out_pairs_whose_first_member_makes_no_error():
    logits = onehot([[0, 1, 2], [0, 1, 0]])
    labels = torch.tensor([0, 1, 2])
    assert diversity(logits, labels)["ratio"] == pytest.approx((1 / 3) / (1 / 3))
    assert "ratio" not in diversity(logits[:1].expand(2, -1, -1), labels)


def test_disagreement_of_each_class():
    logits = onehot([[0, 1, 1, 0], [0, 1, 0, 1], [0, 1, 0, 2]], K=4)
    found = disagreement_by_class(logits, torch.tensor([0, 1, 1, 2]))
    # class 1: no pair differs on the first image, four of six on the second; class 2: all; class 3 has no images
    assert found[:3].tolist() == pytest.approx([0, (0 + 4 / 6) / 2, 1])
    assert found[3].isnan()


def test_nan_is_refused():
    logits, labels = draw()
    logits[0, 0, 0] = math.nan
    with pytest.raises(UserError, match="NaN"):
        diversity(logits, labels)
