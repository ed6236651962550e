import pytest
import torch

from ensembles.data.labelled_set import stratified

LABELS = torch.tensor([0] * 60 + [1] * 30 + [2] * 7 + [3] * 3)[torch.randperm(100, generator=torch.manual_seed(0))]


@pytest.mark.parametrize("size", [0, 1, 10, 33, 99, 100])
def test_each_class_has_its_share_to_within_one_example(size):
    part = stratified(LABELS, size, "val")
    assert len(part) == len(part.unique()) == size
    exact = LABELS.bincount() * size / 100
    assert (LABELS[part].bincount(minlength=4) - exact).abs().max() < 1


def test_limits_come_before_shares():
    assert LABELS[stratified(LABELS, 4, "train", least=1)].bincount().tolist() == [1, 1, 1, 1]
    assert LABELS[stratified(LABELS, 98, "val", spare=1)].bincount().tolist() == [59, 29, 6, 2]


def test_same_labels_same_part_and_small_parts_within_large_ones():
    large = stratified(LABELS, 50, "train")
    assert torch.equal(large, stratified(LABELS, 50, "train"))
    assert set(stratified(LABELS, 20, "train").tolist()) <= set(large.tolist())


def test_parts_for_different_purposes_differ():
    assert not torch.equal(stratified(LABELS, 50, "train"), stratified(LABELS, 50, "val"))
