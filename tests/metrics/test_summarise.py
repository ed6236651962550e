import json
import math
import weakref
from itertools import product

import pytest
import torch

from ensembles.data.corruptions import SEVERITIES, STANDARD
from ensembles.errors import UserError
from ensembles.metrics import Predicted, Summary, scores, summarise
from ensembles.metrics.diversity import diversity
from ensembles.metrics.shift import mean_corruption_error, shifted
from ensembles.metrics.temperature import fit, scaled

METRICS = {"acc", "nll", "ece", "brier", "aece", "cece", "aurc"}
CRITERIA = ["max_probability", "max_logit", "entropy", "mutual_information", "variance"]
CELL = ("acc", "nll", "ece")


def draw(M=3, N=90, K=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Predicted(torch.randn(M, N, K, generator=generator), torch.randint(K, (N,), generator=generator))


def outside(M=3, seed=2):
    return Predicted(draw(M=M, N=31, seed=seed).logits, torch.full((31,), -1))


def sets():
    return {
        "val": draw(N=70, seed=5),
        "test": draw(),
        "ood/photos": outside(),
        "shift/sketches": Predicted(draw(N=50, seed=1).logits, torch.randint(2, (50,)) + 1, covered_classes=[2, 1]),
        "corrupted/fog/1": draw(seed=3),
        "corrupted/frost/5": draw(seed=4),
        "corrupted/spatter/2": draw(seed=6),
    }


def test_keys_values_and_json():
    given = sets()
    results = summarise(given.items(), temperature_scaling=True)
    wanted = {f"{who}/{m}" for who in ("test", "members") for m in METRICS}
    wanted |= {"diversity/disagreement", "diversity/kl", "diversity/ratio"}
    wanted |= {f"scaled/{who}/{m}" for who in ("pool", "average", "members") for m in (*CELL, "brier")}
    wanted |= {"scaled/pool/temperature", "scaled/members/temperature"}
    places = ("corrupted", "corrupted_extra", "corrupted/fog/1", "corrupted/frost/5", "corrupted/spatter/2")
    wanted |= {f"{where}/{m}" for where in (*places, "shift/sketches") for m in CELL}
    averages = product(("corrupted", "corrupted_extra"), ("cells", "brier", "aurc", "members_acc", "disagreement"))
    wanted |= {"/".join(keys) for keys in averages}
    wanted |= {f"ood/photos/{c}/{m}" for c in CRITERIA for m in ("auroc", "aupr", "fpr95")}
    assert set(results) == wanted
    assert json.loads(json.dumps(results, allow_nan=False)) == results

    logits, labels = given["test"][:2]
    assert results["test/nll"] == scores(logits, labels)["nll"]
    assert results["members/nll"] == [scores(logits[m : m + 1], labels)["nll"] for m in range(3)]
    assert results["shift/sketches/acc"] == shifted("", given["shift/sketches"])["acc"]
    fog, frost = (scores(*given[f"corrupted/{name}"][:2], CELL) for name in ("fog/1", "frost/5"))
    assert results["corrupted/frost/5/ece"] == frost["ece"]
    assert results["corrupted/nll"] == pytest.approx((fog["nll"] + frost["nll"]) / 2)
    assert results["corrupted_extra/acc"] == results["corrupted/spatter/2/acc"]
    fog, frost = (given[f"corrupted/{name}"] for name in ("fog/1", "frost/5"))
    for key, of in {
        "aurc": lambda logits, labels: scores(logits, labels)["aurc"],
        "brier": lambda logits, labels: scores(logits, labels)["brier"],
        "members_acc": lambda logits, labels: (logits.argmax(-1) == labels).double().mean().item(),
        "disagreement": lambda logits, labels: diversity(logits, labels)["disagreement"],
    }.items():
        assert results[f"corrupted/{key}"] == pytest.approx((of(*fog[:2]) + of(*frost[:2])) / 2)
    expected = scaled(logits, labels, fit(*given["val"][:2]))
    assert {key.removeprefix("scaled/"): results[key] for key in results if key.startswith("scaled/")} == expected


def test_the_order_of_the_sets_does_not_matter():
    given = sets()
    there = summarise(given.items(), temperature_scaling=True)
    back = summarise(reversed(given.items()), temperature_scaling=True)
    assert set(there) == set(back)
    assert all(back[key] == pytest.approx(value, abs=1e-15) for key, value in there.items())


def test_restricting_to_a_sets_classes_is_a_choice():
    given = sets()
    free = summarise(given.items(), restrict_classes=False)
    assert free["shift/sketches/nll"] == shifted("", given["shift/sketches"], restrict=False)["nll"]
    changed = {key for key, value in summarise(given.items()).items() if free[key] != value}
    assert changed and all(key.startswith("shift/sketches/") for key in changed)


def test_mce_is_for_imagenet_alone():
    types = list(product(STANDARD, SEVERITIES))
    for K in (4, 1000):
        given = {f"corrupted/{type}/{s}": draw(M=1, N=4, K=K, seed=i) for i, (type, s) in enumerate(types)}
        results = summarise([("test", draw(M=1, N=4, K=K)), *given.items()])
        assert results["corrupted/cells"] == 75
        each = {(type, s): {"acc": results[f"corrupted/{type}/{s}/acc"]} for type, s in types}
        assert results.get("corrupted/mce") == (mean_corruption_error(each) if K == 1000 else None)


def test_one_member_is_its_own_ensemble_and_has_no_pairs():
    results = summarise([("test", draw(M=1)), ("ood/far", outside(M=1))])
    assert results["members/acc"] == [results["test/acc"]]
    assert results["members/brier"] == [results["test/brier"]]
    assert not [key for key in results if key.startswith("diversity/")]
    assert {key.split("/")[2] for key in results if key.startswith("ood/")} == set(CRITERIA[:3])


def test_only_the_test_sets_logits_are_kept():
    given, summary = sets(), Summary(temperature_scaling=True)
    watched = {name: weakref.ref(predicted.logits) for name, predicted in given.items()}
    for name in list(given):
        summary.add(name, given.pop(name))
    assert [name for name, logits in watched.items() if logits() is not None] == ["test"]


@pytest.mark.parametrize("place", list(sets()))
def test_nan_is_refused_by_the_name_of_its_set(place):
    given = sets()
    given[place].logits[0, 0, 0] = math.nan
    with pytest.raises(UserError, match=f"'{place}' hold NaN"):
        summarise(given.items())


def test_sets_that_cannot_be_measured_are_refused():
    def refuses(match, *given, **settings):
        with pytest.raises(UserError, match=match):
            summarise(given, **settings)

    logits, labels = draw()[:2]
    test = ("test", Predicted(logits, labels))
    refuses("'ood/far' is empty", test, ("ood/far", Predicted(logits[:, :0], labels[:0])))
    refuses("'test' is empty", ("test", Predicted(logits[:, :0], labels[:0])))
    refuses("labels from -1 to 3", ("test", Predicted(logits, labels.where(labels > 0, -1))))
    refuses("'shift/s' has labels from 0 to 3, but the network tells", ("shift/s", Predicted(logits[..., :2], labels)))
    refuses("90 images but 89 labels", ("test", Predicted(logits, labels[1:])))
    refuses("There is no test set")
    refuses("'train' is none of val, test", test, ("train", draw()))
    refuses("temperature_scaling needs a validation split", test, temperature_scaling=True)
