import pytest
import torch

from ensembles.metrics.classification import equal_mass, equal_width


def test_equal_width_bins_are_closed_on_the_left_and_the_last_one_on_both_sides():
    confidence = torch.tensor([0.0, 0.24, 0.25, 0.5, 0.75, 1.0], dtype=torch.float64)
    correct = torch.tensor([0, 1, 0, 1, 1, 0], dtype=torch.bool)
    bins = equal_width(confidence, correct, bins=4)
    assert bins.count.tolist() == [2, 1, 1, 2]
    assert bins.confidence.tolist() == pytest.approx([0.24, 0.25, 0.5, 1.75])
    assert bins.correct.tolist() == [1, 0, 1, 1]
    assert bins.error.item() == pytest.approx((0.76 + 0.25 + 0.5 + 0.75) / 6)


def test_a_confidence_an_ulp_below_an_edge_counts_as_on_it():
    fifth = torch.tensor([0.2], dtype=torch.float64)
    below = torch.nextafter(fifth, torch.zeros(1, dtype=torch.float64))
    assert equal_width(below, torch.ones(1)).count.argmax() == equal_width(fifth, torch.ones(1)).count.argmax() == 3


def test_columns_are_binned_apart():
    confidence = torch.rand(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    correct = confidence > 0.3
    apart = [equal_width(confidence[:, k], correct[:, k]).error.item() for k in range(3)]
    assert equal_width(confidence, correct).error.tolist() == pytest.approx(apart)


def test_equal_mass_bins_hold_equally_many():
    confidence = torch.rand(47, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    bins = equal_mass(confidence, confidence > 0.5)
    assert set(bins.count.tolist()) == {3, 4}
    assert (bins.confidence / bins.count).diff().lt(0).all()


def test_an_edge_through_equals_does_not_see_which_are_correct():
    half = torch.full((4,), 0.5, dtype=torch.float64)
    for correct in ([1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]):
        bins = equal_mass(half, torch.tensor(correct), bins=2)
        assert bins.correct.tolist() == [1, 1]
        assert bins.error.item() == 0
