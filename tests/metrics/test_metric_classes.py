"""The metrics as torchmetrics has them: batch by batch, over processes of uneven size, in a collection."""

import os

import pytest
import torch
import torch.distributed as dist
from torchmetrics import MetricCollection

from ensembles.errors import UserError
from ensembles.metrics import (
    AURC,
    ECE,
    NLL,
    Accuracy,
    AdaptiveECE,
    BrierScore,
    ClasswiseECE,
    Diversity,
    OODDetection,
    OODScores,
    scores,
)
from ensembles.metrics.diversity import diversity
from ensembles.metrics.ood import criteria, detection
from ensembles.processes import launch

M, K = 3, 5
CLASSES = {"acc": Accuracy, "nll": NLL, "ece": ECE, "brier": BrierScore, "aece": AdaptiveECE, "aurc": AURC}


def draw(N=203):
    generator = torch.Generator().manual_seed(N)
    return 2 * torch.randn(M, N, K, generator=generator), torch.randint(K, (N,), generator=generator)


def collection():
    ensemble = {name: metric() for name, metric in CLASSES.items()} | {"cece": ClasswiseECE(K)}
    members = {f"members_{name}": metric(of="members") for name, metric in CLASSES.items()}
    return MetricCollection(ensemble | members | {"diversity": Diversity(M), "ood": OODScores(M)})


def updated(metrics, logits, labels, sizes):
    start = 0
    for size in sizes:
        metrics.update(logits[:, start : start + size], labels[start : start + size])
        start += size
    return {key: value.tolist() for key, value in metrics.compute().items()}


def expected(logits, labels):
    found = scores(logits, labels)
    each = [scores(member[None], labels, CLASSES) for member in logits]
    found |= {f"members_{name}": [member[name] for member in each] for name in CLASSES}
    return found | diversity(logits, labels) | {name: score.tolist() for name, score in criteria(logits).items()}


@pytest.mark.parametrize("sizes", [[203], [100, 100, 3], [1] * 203])
def test_batches_add_up_to_the_set(sizes):
    logits, labels = draw()
    found = updated(collection(), logits, labels, sizes)
    wanted = expected(logits, labels)
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        assert found[key] == pytest.approx(value, rel=1e-12, abs=1e-15), key


def test_a_collection_collects_what_its_metrics_share_once():
    metrics = collection()
    metrics.update(*draw())
    groups = sorted(sorted(group) for group in metrics.compute_groups.values())
    assert sorted(CLASSES) in groups
    assert sorted(f"members_{name}" for name in CLASSES) in groups


def test_a_metric_starts_anew_after_reset_and_keeps_its_precision():
    metrics = collection()
    metrics.update(*draw(50))
    metrics.reset()
    metrics.half()
    logits, labels = draw()
    assert updated(metrics, logits, labels, [203])["nll"] == pytest.approx(scores(logits, labels)["nll"], rel=1e-12)


def shares(folder, sizes):
    """What each of several processes gets of a set of 203 examples, in order."""
    torch.set_num_threads(1)
    rank = int(os.environ["LOCAL_RANK"])
    dist.init_process_group("gloo", rank=rank, world_size=len(sizes))
    logits, labels = draw()
    start = sum(sizes[:rank])
    part = slice(start, start + sizes[rank])
    metrics = collection()
    if sizes[rank]:
        metrics.update(logits[:, part], labels[part])
    torch.save({key: value.tolist() for key, value in metrics.compute().items()}, folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("sizes", [(100, 103), (203, 0), (0, 3, 200)])
def test_processes_of_uneven_size_find_what_one_finds(tmp_path, sizes):
    launch(shares, (tmp_path, sizes), len(sizes))
    logits, labels = draw()
    wanted = expected(logits, labels)
    for rank in range(len(sizes)):
        found = torch.load(tmp_path / f"{rank}.pt")
        assert found.keys() == wanted.keys()
        for key, value in wanted.items():
            assert found[key] == pytest.approx(value, rel=1e-9, abs=1e-12), key


@pytest.mark.parametrize("criterion", ["max_probability", "mutual_information"])
def test_detection_takes_both_kinds_in_any_order(criterion):
    logits, _ = draw()
    is_out = torch.arange(203) % 3 == 0
    metric = OODDetection(M, criterion)
    for part in torch.arange(203).split(60):
        metric.update(logits[:, part], is_out[part])
    score = criteria(logits)[criterion]
    assert metric.compute() == pytest.approx(detection(score[~is_out], score[is_out]))


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(UserError, match="of is 'all', but must be ensemble or members"):
        Accuracy(of="all")
    with pytest.raises(UserError, match=r"criterion is 'variance', but must be one of .* where M is 1"):
        OODDetection(1, "variance")
