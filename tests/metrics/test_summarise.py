import json
import math

import pytest
import torch

from ensembles.errors import UserError
from ensembles.metrics import scores, summarise
from ensembles.metrics.ood import criteria, detection

METRICS = {"acc", "nll", "ece", "brier", "aece", "cece", "aurc"}
CRITERIA = ["max_probability", "max_logit", "entropy", "mutual_information", "variance"]


def draw(M=3, N=90, K=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(M, N, K, generator=generator), torch.randint(K, (N,), generator=generator)


def test_keys_values_and_json():
    test, shifted, outside = draw(), draw(N=50, K=2, seed=1), draw(N=31, seed=2)[0]
    results = summarise(test=test, ood={"photos": outside}, shift={"sketches": shifted})
    wanted = {f"test/{m}" for m in METRICS} | {f"members/{m}" for m in METRICS}
    wanted |= {"diversity/disagreement", "diversity/kl", "diversity/ratio"}
    wanted |= {"shift/sketches/acc", "shift/sketches/nll", "shift/sketches/ece"}
    wanted |= {f"ood/photos/{c}/{m}" for c in CRITERIA for m in ("auroc", "aupr", "fpr95")}
    assert set(results) == wanted
    assert json.loads(json.dumps(results, allow_nan=False)) == results

    logits, labels = test
    assert results["test/nll"] == scores(logits, labels)["nll"]
    assert results["members/nll"] == [scores(logits[m : m + 1], labels)["nll"] for m in range(3)]
    assert results["shift/sketches/acc"] == scores(*shifted)["acc"]
    inside, out = criteria(logits)["entropy"], criteria(outside)["entropy"]
    assert results["ood/photos/entropy/aupr"] == detection(inside, out)["aupr"]


def test_one_member_is_its_own_ensemble_and_has_no_pairs():
    results = summarise(test=draw(M=1), ood={"far": draw(M=1, seed=1)[0]})
    assert results["members/acc"] == [results["test/acc"]]
    assert results["members/brier"] == [results["test/brier"]]
    assert not [key for key in results if key.startswith("diversity/")]
    assert {key.split("/")[2] for key in results if key.startswith("ood/")} == set(CRITERIA[:3])


@pytest.mark.parametrize("place", ["test", "ood/far", "shift/sketches"])
def test_nan_is_refused_by_the_name_of_its_set(place):
    sets = {"test": draw(), "ood/far": draw(seed=1), "shift/sketches": draw(seed=2)}
    sets[place][0][0, 0, 0] = math.nan
    with pytest.raises(UserError, match=f"'{place}' hold NaN"):
        summarise(sets["test"], ood={"far": sets["ood/far"][0]}, shift={"sketches": sets["shift/sketches"]})


def test_sets_that_cannot_be_measured_are_refused():
    logits, labels = draw()
    with pytest.raises(UserError, match="'ood/far' is empty"):
        summarise((logits, labels), ood={"far": logits[:, :0]})
    with pytest.raises(UserError, match="'test' is empty"):
        summarise((logits[:, :0], labels[:0]))
    with pytest.raises(UserError, match="labels from -1 to 3"):
        summarise((logits, labels.where(labels > 0, -1)))
    with pytest.raises(UserError, match="'shift/s' has labels from 0 to 3, but the network tells 2"):
        summarise((logits, labels), shift={"s": (logits[..., :2], labels)})
    with pytest.raises(UserError, match="90 images but 89 labels"):
        summarise((logits, labels[1:]))
